"""Arithmetic of chart points: how often each figure was told in a span of steps, its sum, least and greatest.

A ``Buckets`` holds consecutive spans of one width. Spans add up: the figures of a wide one follow from the narrow ones within it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNT, SUM, LEAST, GREATEST = range(4)
STEP = "step"
"""The step's own number among the figures: its count says how many steps a span holds, its greatest which was the last."""
SCALARS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "step_seconds")

Values = NDArray[np.float64]


@dataclass
class Buckets:
    """``values`` has the shape (figures, 4, spans); ``first`` is the number of the first span, step // width."""

    first: int
    names: list[str]
    values: Values
    unknown: dict[str, str] = field(default_factory=dict[str, str])
    """Memory source -> why it could not be read."""

    @property
    def count(self) -> int:
        return int(self.values.shape[2])

    def slice(self, begin: int, end: int) -> "Buckets":
        """The spans numbered ``begin`` to ``end`` (excluded)."""
        return Buckets(begin, self.names, self.values[:, :, begin - self.first : end - self.first], self.unknown)


def nothing(names: Sequence[str], first: int, count: int) -> Buckets:
    """Spans in which nothing was told."""
    values = np.zeros((len(names), 4, count))
    values[:, LEAST] = np.inf
    values[:, GREATEST] = -np.inf
    return Buckets(first, list(names), values)


def combine(parts: Sequence[Buckets], first: int, count: int) -> Buckets:
    """The sum of parts of one width, which may overlap, as ``count`` spans from ``first`` on."""
    names = sorted({name for part in parts for name in part.names})
    place = {name: index for index, name in enumerate(names)}
    whole = nothing(names, first, count)
    for part in parts:
        rows = np.array([place[name] for name in part.names], dtype=np.intp)
        columns = slice(part.first - first, part.first - first + part.count)
        mine = whole.values[rows, :, columns]
        mine[:, :LEAST] += part.values[:, :LEAST]
        np.minimum(mine[:, LEAST], part.values[:, LEAST], out=mine[:, LEAST])
        np.maximum(mine[:, GREATEST], part.values[:, GREATEST], out=mine[:, GREATEST])
        whole.values[rows, :, columns] = mine
        whole.unknown |= part.unknown
    return whole


def fold(narrow: Buckets, by: int) -> Buckets:
    """The same figures in spans ``by`` times as wide; spans at the ends may be incomplete."""
    first = narrow.first // by
    count = -(-(narrow.first + narrow.count) // by) - first
    padded = combine([narrow], first * by, count * by)
    parts = padded.values.reshape(len(padded.names), 4, count, by)
    values = np.empty((len(padded.names), 4, count))
    values[:, :LEAST] = parts[:, :LEAST].sum(axis=-1)
    values[:, LEAST] = parts[:, LEAST].min(axis=-1)
    values[:, GREATEST] = parts[:, GREATEST].max(axis=-1)
    return Buckets(first, padded.names, values, padded.unknown)


def of_steps(steps: Iterable[tuple[int, Mapping[str, Any]]], first: int, count: int) -> Buckets:
    """One span for each step number from ``first`` on; ``steps`` are pairs of a number and a step event as a mapping."""
    unknown: dict[str, str] = {}
    told: dict[str, tuple[list[int], list[float]]] = {}
    for step, event in steps:
        for name, value in figures(step, event, unknown):
            # An event from a newer worker may hold something else here; only numbers can be drawn.
            if type(value) in (int, float):
                places, values = told.setdefault(name, ([], []))
                places.append(step - first)
                values.append(value)
    names = sorted(told)
    buckets = nothing(names, first, count)
    for row, name in enumerate(names):
        places, values = told[name]
        buckets.values[row][:, places] = [[1.0] * len(values), values, values, values]
    buckets.unknown = unknown
    return buckets


def figures(step: int, event: Mapping[str, Any], unknown: dict[str, str]) -> Iterable[tuple[str, Any]]:
    """Every figure of a step under its series' name; notes in ``unknown`` why a memory source could not be read."""
    yield STEP, step
    for name in SCALARS:
        yield name, event.get(name)
    for memory in parts(event, "memory"):
        source = memory.get("source")
        if memory.get("unknown_because"):
            unknown[str(source)] = str(memory["unknown_because"])
        yield f"memory.{source}", memory.get("bytes")
        yield f"memory_peak.{source}", memory.get("peak_bytes")
    for phase in parts(event, "phases"):
        if phase.get("unknown_because"):
            unknown[str(phase.get("source"))] = str(phase["unknown_because"])
        yield f"phase_peak.{phase.get('source')}.{phase.get('phase')}", phase.get("peak_bytes")


def parts(event: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects of a list in an event; none if it is something else, as the recorder does not check a step whole."""
    found = event.get(name)
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []  # pyright: ignore
