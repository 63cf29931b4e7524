"""Which attempts' steps make one run: an attempt that went on from a checkpoint has the steps before it from an earlier attempt."""

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.jobs.tables import AttemptRow, JobRow
from backend.telemetry.tables import NOT_STEPS, EventRow, StepRow


class Stretch(NamedTuple):
    """The steps that a run has from one of its attempts: up to ``last`` (included), or all of them."""

    attempt: int
    last: int | None


def stretches(session: Session, job: str, attempt: int) -> list[Stretch]:
    """What the run that ``attempt`` went on with is made of, newest first."""
    found = [Stretch(attempt, None)]
    while (before := gone_on_from(session, job, attempt)) is not None and before < attempt:
        begins = first_step(session, job, attempt)
        # Steps after the checkpoint are taken anew, so that only those up to it count while there is none yet.
        last = last_checkpoint(session, job, before) if begins is None else begins - 1
        # An attempt that found no checkpoint began anew, and has nothing of the ones before.
        last = min(end for end in (last, found[-1].last) if end is not None) if last is not None else 0
        if last < 1:
            break
        found.append(Stretch(before, last))
        attempt = before
    return found


def gone_on_from(session: Session, job: str, attempt: int) -> int | None:
    """The attempt whose last checkpoint this one began with; None if it began anew."""
    newest = session.scalar(
        select(JobRow.resume_from_attempt).where(JobRow.id == job, JobRow.attempt == attempt).limit(1)
    )
    return newest or session.scalar(
        select(AttemptRow.resume_from_attempt).where(AttemptRow.job == job, AttemptRow.attempt == attempt)
    )


def first_step(session: Session, job: str, attempt: int) -> int | None:
    return session.scalar(select(func.min(StepRow.step)).where(StepRow.job == job, StepRow.attempt == attempt))


def last_checkpoint(session: Session, job: str, attempt: int) -> int | None:
    """The step of an attempt's last checkpoint."""
    statement = (
        select(EventRow.data)
        .where(EventRow.job == job, EventRow.attempt == attempt, EventRow.kind == "checkpoint", NOT_STEPS)
        .order_by(EventRow.sequence.desc())
        .limit(1)
    )
    event = session.scalar(statement)
    return None if event is None else int(event["step"])
