"""The only code that writes jobs.state."""

import time
from typing import Any

from sqlalchemy import CursorResult, update
from sqlalchemy.orm import Session

from backend.jobs.tables import AttemptRow, JobRow
from backend.telemetry.lineage import last_checkpoint
from tunescope.states import TERMINAL, TRANSITIONS, JobState

NOT_WAITING: dict[str, Any] = {"waiting_because": None, "waiting_sentence": None}


def predecessors(to: JobState) -> list[str]:
    """The states from which a job may be moved to ``to``."""
    return [state.value for state, following in TRANSITIONS.items() if to in following]


def move(
    session: Session,
    job_id: str,
    to: JobState,
    *,
    fence: int | None = None,
    failure: dict[str, Any] | None = None,
    **columns: Any,
) -> bool:
    """Move a job to ``to`` if the table of transitions, and ``fence`` if given, allow it.

    ``columns`` are written in the same statement. Returns False, and changes nothing, if the job has moved on meanwhile:
    the caller came late.
    """
    now = time.time()
    values: dict[str, Any] = {"state": to.value, **columns}
    if to in TERMINAL:
        values["finished_at"] = now
        values |= NOT_WAITING
    if to is JobState.ASSIGNED:
        values["assigned_at"] = now
        values |= NOT_WAITING
    if failure is not None:
        values["failure"] = failure
    statement = update(JobRow).where(JobRow.id == job_id, JobRow.state.in_(predecessors(to))).values(values)
    if fence is not None:
        statement = statement.where(JobRow.fence == fence)
    result = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def requeue(
    session: Session, row: JobRow, *, resume_from_attempt: int | None, failure: dict[str, Any] | None = None
) -> bool:
    """Start over as the next attempt with a new fence, so that nothing late from the old one counts.

    Besides the table's own rules, a failed or cancelled job may be queued again: that is what a retry is. ``failure`` says why an
    attempt ended that has no state of its own for it. How it ended stays, as a row of ``attempts``. A job that goes on from a
    checkpoint is as far as that until its worker says otherwise.
    """
    ended = ended_attempt(row, failure)
    kept = last_checkpoint(session, row.id, resume_from_attempt) if resume_from_attempt else None
    statement = (
        update(JobRow)
        .where(JobRow.id == row.id, JobRow.fence == row.fence, JobRow.state == row.state)
        .values(
            state=JobState.QUEUED.value,
            attempt=row.attempt + 1,
            fence=row.fence + 1,
            resume_from_attempt=resume_from_attempt,
            machine=None,
            gpus=[],
            step=kept or 0,
            stage=None,
            latest=None,
            failure=None,
            **NOT_WAITING,
            assigned_at=None,
            started_at=None,
            finished_at=None,
        )
    )
    result = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    if result.rowcount != 1:
        return False
    session.add(ended)
    return True


def ended_attempt(row: JobRow, failure: dict[str, Any] | None) -> AttemptRow:
    """What there is to say of the attempt that ``row`` tells of."""
    return AttemptRow(
        job=row.id,
        attempt=row.attempt,
        state=JobState.FAILED.value if failure else row.state,
        failure=failure or row.failure,
        machine=row.machine,
        gpus=row.gpus,
        step=row.step,
        total_steps=row.total_steps,
        resume_from_attempt=row.resume_from_attempt,
        started_at=row.started_at,
        finished_at=row.finished_at or time.time(),
    )
