"""Which of a job's attempts can be gone on from."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.telemetry.tables import NOT_STEPS, EventRow


def last_checkpoint_attempt(session: Session, job: str) -> int | None:
    """The newest attempt of a job that wrote a checkpoint."""
    statement = (
        select(EventRow.attempt)
        .where(EventRow.job == job, EventRow.kind == "checkpoint", NOT_STEPS)
        .order_by(EventRow.attempt.desc())
        .limit(1)
    )
    return session.scalar(statement)
