"""Series for the charts: at most N points, each the mean, least and greatest of the steps it stands for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.telemetry.buckets import COUNT, GREATEST, STEP, Buckets, combine, fold
from backend.telemetry.lineage import Stretch, stretches
from backend.telemetry.tables import NOT_STEPS, EventRow, StepRow
from backend.telemetry.tiers import FAN, Attempt, gather


def metrics(
    session: Session, job: str, attempt: int, first: int | None, last: int | None, points: int
) -> dict[str, Any]:
    """Series of an attempt's run from step ``first`` to ``last``, both included. Arrays are numpy's; NaN means not told.

    The run has the steps before the attempt's own from the attempt that it went on from. A point stands for a span of steps whose
    width is a power of two, the smallest that needs no more than ``points``. The position is read first: events after it may be in
    the series already, but none up to it is missing.
    """
    position = select(func.max(EventRow.sequence)).where(EventRow.job == job, EventRow.attempt == attempt)
    sequence = session.scalar(position)
    made_of = stretches(session, job, attempt)
    parts = [part for stretch in made_of if (part := part_of(session, job, stretch, first, last))]
    answer: dict[str, Any] = {
        "attempt": attempt,
        "position": None if sequence is None else f"{attempt}-{sequence}",
        "last_step": highest_step(session, job, attempt),
        "steps_per_point": 1,
        "steps": [],
        "series": {},
        "unknown": {},
        "evaluations": evaluations(session, job, made_of, first, last),
    }
    if not parts:
        return answer
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    doublings = 0
    while (high >> doublings) - (low >> doublings) + 1 > points:
        doublings += 1
    level, connection = doublings // 2, session.connection()
    gathered = [
        gather(Attempt(connection, job, part.attempt), level, part.low, part.high, part.highest) for part in parts
    ]
    begin = low // FAN**level
    found = combine(gathered, begin, high // FAN**level - begin + 1)
    if doublings % 2:
        found = fold(found, 2)
    return answer | {"steps_per_point": 1 << doublings} | drawn(found)


def evaluations(
    session: Session, job: str, made_of: Sequence[Stretch], first: int | None, last: int | None
) -> list[dict[str, Any]]:
    """Step and loss of each evaluation within the range, in order."""
    found: dict[int, Any] = {}
    for stretch in made_of:
        statement = select(EventRow.data).where(
            EventRow.job == job, EventRow.attempt == stretch.attempt, EventRow.kind == "evaluation", NOT_STEPS
        )
        for event in session.scalars(statement.order_by(EventRow.sequence)):
            step = int(event["step"])
            if (first or 0) <= step <= min(end for end in (last, stretch.last, step) if end is not None):
                found[step] = event["loss"]
    return [{"step": step, "loss": loss} for step, loss in sorted(found.items())]


class Part(NamedTuple):
    """The steps ``low`` to ``high`` (included) of an attempt, whose last one is ``highest``."""

    attempt: int
    low: int
    high: int
    highest: int


def part_of(session: Session, job: str, stretch: Stretch, first: int | None, last: int | None) -> Part | None:
    """What a stretch has within the range; None if that is nothing."""
    ends = [end for end in (last, stretch.last) if end is not None]
    low, high = extent(session, job, stretch.attempt, first, min(ends, default=None))
    highest = highest_step(session, job, stretch.attempt)
    if low is None or high is None or highest is None:
        return None
    return Part(stretch.attempt, low, high, highest)


def extent(
    session: Session, job: str, attempt: int, first: int | None, last: int | None
) -> tuple[int | None, int | None]:
    """The least and the greatest step within the range."""
    within = [StepRow.job == job, StepRow.attempt == attempt]
    if first is not None:
        within.append(StepRow.step >= first)
    if last is not None:
        within.append(StepRow.step <= last)
    # One aggregate a query: SQLite finds a single minimum or maximum by the index, but two only by reading all rows.
    low = session.scalar(select(func.min(StepRow.step)).where(*within))
    high = session.scalar(select(func.max(StepRow.step)).where(*within))
    return low, high


def highest_step(session: Session, job: str, attempt: int) -> int | None:
    return session.scalar(select(func.max(StepRow.step)).where(StepRow.job == job, StepRow.attempt == attempt))


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
