"""What a trainer said before its first step."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.telemetry.tables import NOT_STEPS, EventRow
from tunescope.events import PlanEvent


def plan_of(session: Session, job: str, attempt: int) -> PlanEvent | None:
    """The plan of one attempt; None where it never came so far."""
    statement = select(EventRow.data).where(
        EventRow.job == job, EventRow.attempt == attempt, EventRow.kind == "plan", NOT_STEPS
    )
    data = session.scalars(statement.limit(1)).first()
    return PlanEvent.model_validate(data) if data else None
