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
SCALARS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "step_seconds", "meter_seconds")

NUMBERS = frozenset({int, float, type(None)})

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
    layouts: dict[Layout, tuple[list[int], list[list[Any]]]] = {}
    for step, event in steps:
        layout, figures = figures_of(step, event, unknown)
        places, rows = layouts.setdefault(layout, ([], []))
        places.append(step - first)
        rows.append(figures)
    parts = [of_rows(layout, places, rows, first, count) for layout, (places, rows) in layouts.items()]
    buckets = combine(parts, first, count)
    buckets.unknown = unknown
    return buckets


Layout = tuple[tuple[Any, ...], tuple[Any, ...]]
"""Which figures a step tells: the sources of its memory, and the (source, phase) of its phases. Most steps of a run tell the same."""


def figures_of(step: int, event: Mapping[str, Any], unknown: dict[str, str]) -> tuple[Layout, list[Any]]:
    """Every figure of a step, in the order of ``names_of`` its layout; notes in ``unknown`` why a source could not be read."""
    memory, phases = objects(event, "memory"), objects(event, "phases")
    figures: list[Any] = [step, *map(event.get, SCALARS)]
    for part in memory:
        figures += (part.get("bytes"), part.get("peak_bytes"))
    figures += [part.get("peak_bytes") for part in phases]
    for part in (*memory, *phases):
        if part.get("unknown_because"):
            unknown[str(part.get("source"))] = str(part["unknown_because"])
    sources = tuple([str(part.get("source")) for part in memory])
    return (sources, tuple([(str(part.get("source")), str(part.get("phase"))) for part in phases])), figures


def names_of(layout: Layout) -> list[str]:
    """The series' names of a layout's figures."""
    sources, phases = layout
    memory = [name for source in sources for name in (f"memory.{source}", f"memory_peak.{source}")]
    return [STEP, *SCALARS, *memory, *[f"phase_peak.{source}.{phase}" for source, phase in phases]]


def objects(event: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects of a list in an event; none if it is something else, as the recorder does not check a step whole."""
    found = event.get(name)
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []  # pyright: ignore[reportUnknownVariableType]


def of_rows(layout: Layout, places: list[int], rows: list[list[Any]], first: int, count: int) -> Buckets:
    """Spans of steps that tell the same figures, at these places."""
    # A source told twice counts once, by what it told last.
    named = {name: column for column, name in enumerate(names_of(layout))}
    figures = as_numbers(rows)[:, list(named.values())].T
    told = ~np.isnan(figures)
    buckets = nothing(list(named), first, count)
    buckets.values[:, COUNT, places] = told
    buckets.values[:, SUM, places] = np.where(told, figures, 0)
    buckets.values[:, LEAST, places] = np.where(told, figures, np.inf)
    buckets.values[:, GREATEST, places] = np.where(told, figures, -np.inf)
    shown: NDArray[np.bool_] = buckets.values[:, COUNT].max(axis=1) > 0
    names = [name for name, kept in zip(named, shown, strict=True) if kept]
    return Buckets(first, names, buckets.values[shown])


def as_numbers(rows: list[list[Any]]) -> Values:
    """Rows as numbers; what is none is not told."""
    if not all(NUMBERS.issuperset(map(type, row)) for row in rows):
        rows = [[value if type(value) in NUMBERS else None for value in row] for row in rows]
    return np.array(rows, dtype=np.float64)
