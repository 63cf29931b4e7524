"""Series for the charts: at most N points, each the mean, least and greatest of the steps it stands for."""

from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.telemetry.buckets import COUNT, GREATEST, STEP, Buckets, fold
from backend.telemetry.tables import EventRow, StepRow
from backend.telemetry.tiers import Attempt, gather


def metrics(
    session: Session, job: str, attempt: int, first: int | None, last: int | None, points: int
) -> dict[str, Any]:
    """Series of an attempt's steps from ``first`` to ``last``, both included. Arrays are numpy's; NaN means not told.

    A point stands for a span of steps whose width is a power of two, the smallest that needs no more than ``points``. The
    position is read first: events after it may be in the series already, but none up to it is missing.
    """
    position = select(func.max(EventRow.sequence)).where(EventRow.job == job, EventRow.attempt == attempt)
    sequence = session.scalar(position)
    low, high, highest = extent(session, job, attempt, first, last)
    answer: dict[str, Any] = {
        "attempt": attempt,
        "position": None if sequence is None else f"{attempt}-{sequence}",
        "last_step": highest,
        "steps_per_point": 1,
        "steps": [],
        "series": {},
        "unknown": {},
    }
    if low is None or high is None or highest is None:
        return answer
    doublings = 0
    while (high >> doublings) - (low >> doublings) + 1 > points:
        doublings += 1
    found = gather(Attempt(session.connection(), job, attempt), doublings // 2, low, high, highest)
    if doublings % 2:
        found = fold(found, 2)
    return answer | {"steps_per_point": 1 << doublings} | drawn(found)


def extent(
    session: Session, job: str, attempt: int, first: int | None, last: int | None
) -> tuple[int | None, int | None, int | None]:
    """The least and the greatest step within the range, and the greatest of all."""
    mine = (StepRow.job == job, StepRow.attempt == attempt)
    within = [*mine]
    if first is not None:
        within.append(StepRow.step >= first)
    if last is not None:
        within.append(StepRow.step <= last)
    # One aggregate a query: SQLite finds a single minimum or maximum by the index, but two only by reading all rows.
    low = session.scalar(select(func.min(StepRow.step)).where(*within))
    high = session.scalar(select(func.max(StepRow.step)).where(*within))
    return low, high, session.scalar(select(func.max(StepRow.step)).where(*mine))


def drawn(found: Buckets) -> dict[str, Any]:
    """The spans that hold steps, as columns."""
    if STEP not in found.names:
        return {}
    own = found.values[found.names.index(STEP)]
    told = own[COUNT] > 0
    series: dict[str, Any] = {}
    for name, values in zip(found.names, found.values, strict=True):
        if name == STEP:
            continue
        count, total, least, greatest = values[:, told]
        known = count > 0
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=known)
        # Rounding must not put a mean outside its own band.
        mean = np.clip(mean, least, greatest, where=known, out=mean)
        series[name] = {"mean": mean, "min": np.where(known, least, np.nan), "max": np.where(known, greatest, np.nan)}
    return {"steps": own[GREATEST, told].astype(np.int64), "series": series, "unknown": found.unknown}
