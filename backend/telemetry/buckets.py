"""Arithmetic of chart points: how often each figure was told in a span of steps, its sum, least and greatest.

A ``Buckets`` holds consecutive spans of one width. Spans add up: the figures of a wide one follow from the narrow ones within it.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import nan
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.telemetry.told import Step

COUNT, SUM, LEAST, GREATEST = range(4)
STEP = "step"
"""The step's own number among the figures: its count says how many steps a span holds, its greatest which was the last."""
SCALARS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "step_seconds", "meter_seconds")
scalars = attrgetter(*SCALARS)

Figure = int | float | None
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


Layout = tuple[tuple[str, ...], tuple[str, ...]]
"""Which figures a step tells: the sources of its memory; source and phase, in turn, of its phases. Most steps of a run tell the same."""


class Row(NamedTuple):
    """What one step told."""

    step: int
    layout: Layout
    figures: "array[float]"
    """In the order of ``names_of`` the layout; NaN: not told."""
    unknown: dict[str, str]
    """Memory source -> why it could not be read."""


def row_of(step: int, told: Step) -> Row:
    """What ``told`` says of the step of that number."""
    figures: list[Figure] = [step, *scalars(told)]
    sources: list[str] = []
    phases: list[str] = []
    unknown: dict[str, str] = {}
    for part in told.memory:
        sources.append(part.source)
        figures += (part.bytes, part.peak_bytes)
        if part.unknown_because:
            unknown[part.source] = part.unknown_because
    for part in told.phases:
        phases += (part.source, part.phase)
        figures.append(part.peak_bytes)
        if part.unknown_because:
            unknown[part.source] = part.unknown_because
    numbers = array("d", [nan if figure is None else figure for figure in figures])
    return Row(step, (tuple(sources), tuple(phases)), numbers, unknown)


def names_of(layout: Layout) -> list[str]:
    """The series' names of a layout's figures."""
    sources, phases = layout
    memory = [name for source in sources for name in (f"memory.{source}", f"memory_peak.{source}")]
    pairs = zip(phases[::2], phases[1::2], strict=True)
    return [STEP, *SCALARS, *memory, *[f"phase_peak.{source}.{phase}" for source, phase in pairs]]


def of_rows(rows: Iterable[Row], first: int, count: int) -> Buckets:
    """One span for each step number from ``first`` on."""
    alike: defaultdict[Layout, list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.layout].append(row)
    buckets = combine([of_alike(layout, mine, first, count) for layout, mine in alike.items()], first, count)
    buckets.unknown = {source: why for mine in alike.values() for row in mine for source, why in row.unknown.items()}
    return buckets


def of_alike(layout: Layout, rows: Sequence[Row], first: int, count: int) -> Buckets:
    """Spans of steps that tell the same figures."""
    # A source told twice counts once, by what it told last.
    named = {name: column for column, name in enumerate(names_of(layout))}
    told = np.frombuffer(b"".join([row.figures for row in rows]), np.float64).reshape(len(rows), -1)
    figures = told[:, list(named.values())].T
    known = ~np.isnan(figures)
    places = [row.step - first for row in rows]
    buckets = nothing(list(named), first, count)
    buckets.values[:, COUNT, places] = known
    buckets.values[:, SUM, places] = np.where(known, figures, 0)
    buckets.values[:, LEAST, places] = np.where(known, figures, np.inf)
    buckets.values[:, GREATEST, places] = np.where(known, figures, -np.inf)
    shown: NDArray[np.bool_] = buckets.values[:, COUNT].max(axis=1) > 0
    names = [name for name, kept in zip(named, shown, strict=True) if kept]
    return Buckets(first, names, buckets.values[shown])
