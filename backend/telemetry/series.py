"""Series for the charts: at most N points, each the mean, lowest and highest of the steps it stands for."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.telemetry.tables import StepRow

SCALARS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "step_seconds")
Point = tuple[float | None, float | None, float | None]


def metrics(
    session: Session, job_id: str, attempt: int, first: int | None, last: int | None, points: int
) -> dict[str, Any]:
    """Series of an attempt's steps from ``first`` to ``last``, both included."""
    mine = [StepRow.job == job_id, StepRow.attempt == attempt]
    if first is not None:
        mine.append(StepRow.step >= first)
    if last is not None:
        mine.append(StepRow.step <= last)
    low, high = session.execute(select(func.min(StepRow.step), func.max(StepRow.step)).where(*mine)).one()
    if low is None:  # pyright: ignore[reportUnnecessaryComparison]  # no rows: both are NULL
        return {"attempt": attempt, "steps": [], "series": {}, "unknown": {}}
    width = max(1, -(-(high - low + 1) // points))
    steps: list[int] = []
    columns: dict[str, list[Point]] = defaultdict(list)
    unknown: dict[str, str] = {}
    rows = session.scalars(select(StepRow).where(*mine).order_by(StepRow.step).execution_options(yield_per=2000))
    for bucket in buckets(rows, low, width):
        for name, point in summary(bucket, unknown).items():
            column = columns[name]
            column.extend([(None, None, None)] * (len(steps) - len(column)))
            column.append(point)
        steps.append(bucket[-1].step)
    series: dict[str, dict[str, list[float | None]]] = {}
    for name, column in columns.items():
        column.extend([(None, None, None)] * (len(steps) - len(column)))
        means, lows, highs = zip(*column, strict=True)
        series[name] = {"mean": list(means), "min": list(lows), "max": list(highs)}
    return {"attempt": attempt, "steps": steps, "series": series, "unknown": unknown}


def buckets(rows: Iterable[StepRow], low: int, width: int) -> Iterable[list[StepRow]]:
    """Group rows, in the order of their steps, into spans of ``width`` steps."""
    current: list[StepRow] = []
    index = 0
    for row in rows:
        here = (row.step - low) // width
        if current and here != index:
            yield current
            current = []
        index = here
        current.append(row)
    if current:
        yield current


def summary(bucket: Sequence[StepRow], unknown: dict[str, str]) -> dict[str, Point]:
    """One point for each figure of a bucket; collects why memory figures are unknown."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in bucket:
        for name in SCALARS:
            value = getattr(row, name)
            if value is not None:
                values[name].append(value)
        for figure in row.memory:
            source = figure["source"]
            if figure.get("unknown_because"):
                unknown[source] = figure["unknown_because"]
            if figure.get("bytes") is not None:
                values[f"memory.{source}"].append(figure["bytes"])
            if figure.get("peak_bytes") is not None:
                values[f"memory_peak.{source}"].append(figure["peak_bytes"])
    return {name: (sum(found) / len(found), min(found), max(found)) for name, found in values.items()}
