"""Write worker events to SQL: each once, however often it was delivered."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session

from backend.telemetry.tables import EventRow, StepRow
from tunescope.events import JobEvent, StepEvent


def insert_new(session: Session, table: type[DeclarativeBase], rows: list[dict[str, Any]]) -> None:
    """Insert rows whose key is not there yet; leave the others as they are."""
    if not rows:
        return
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def record(session: Session, events: list[JobEvent]) -> None:
    """Record events of any jobs; a repeated (job, attempt, sequence) changes nothing."""
    insert_new(session, EventRow, [event_values(event) for event in events])
    insert_new(session, StepRow, [step_values(event) for event in events if isinstance(event, StepEvent)])


def event_values(event: JobEvent) -> dict[str, Any]:
    return {
        "job": event.job,
        "attempt": event.attempt,
        "sequence": event.sequence,
        "kind": event.kind,
        "at": event.at,
        "data": event.model_dump(mode="json"),
    }


def step_values(event: StepEvent) -> dict[str, Any]:
    return {
        "job": event.job,
        "attempt": event.attempt,
        "step": event.step,
        "loss": event.loss,
        "learning_rate": event.learning_rate,
        "grad_norm": event.grad_norm,
        "tokens_per_second": event.tokens_per_second,
        "step_seconds": event.step_seconds,
        "memory": [figure.model_dump() for figure in event.memory],
    }
