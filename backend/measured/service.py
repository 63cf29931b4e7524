"""What was measured of one job, and asking its trainer for more."""

import redis
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.jobs.tables import JobRow
from backend.measured.accuracy import ledger_events, prediction_of
from backend.measured.comparison import Prediction, compare, totals
from backend.measured.probed import formula_of
from backend.measured.schemas import Anatomy, Ledgers, MeasuredLedger, MemoryWarning, MemoryWarnings, PredictedLedger
from backend.telemetry.tables import NOT_STEPS, EventRow
from tunescope import wire
from tunescope.events import AnatomyEvent, LedgerEvent, WarningEvent
from tunescope.problems import Conflict, NotFound, Unavailable
from tunescope.sentences import say
from tunescope.states import JobState
from tunescope.wire import Control, TrainerRequest

MOST_WARNINGS = 1000


def ledgers(session: Session, row: JobRow) -> Ledgers:
    prediction, estimate = prediction_of(row), formula_of(row.estimate) or {}
    predicted = None
    if prediction:
        predicted = PredictedLedger(
            total_bytes=estimate["total_bytes"],
            ledger=dict(prediction.ledger),
            site=prediction.site,
            tier=str(estimate.get("tier", "formula")),
        )
    items = [measured_ledger(event, prediction) for event in ledger_events(session, row.id)]
    return Ledgers(
        predicted=predicted,
        predicted_unknown_because=row.estimate_unknown_because,
        probe=max((item for item in items if item.probe), key=lambda item: item.total_bytes, default=None),
        items=[item for item in items if not item.probe],
    )


def measured_ledger(event: LedgerEvent, prediction: Prediction | None) -> MeasuredLedger:
    comparison = compare(prediction, event)
    predicted, measured, percent = totals(comparison)
    return MeasuredLedger(
        **event.model_dump(include=set(MeasuredLedger.model_fields) & set(LedgerEvent.model_fields)),
        comparison=comparison,
        comparable_predicted_bytes=predicted,
        comparable_measured_bytes=measured,
        error_percent=percent,
    )


def anatomy(session: Session, row: JobRow, step: int | None, attempt: int | None = None) -> Anatomy:
    """Memory over time within one measured step, the newest if none is named. Raises NotFound."""
    statement = select(EventRow.data).where(EventRow.job == row.id, EventRow.kind == "anatomy", NOT_STEPS)
    if attempt is not None:
        statement = statement.where(EventRow.attempt == attempt)
    found: dict[int, AnatomyEvent] = {}
    newest: AnatomyEvent | None = None
    for data in session.scalars(statement.order_by(EventRow.attempt, EventRow.sequence)):
        event = AnatomyEvent.model_validate(data)
        if not event.probe:
            found[event.step] = newest = event
    steps = sorted(found)
    if newest is None:
        raise NotFound(say("nothing_measured_yet"), say("first_steps_are_measured"))
    if step is not None and step not in found:
        known = ", ".join(str(number) for number in steps)
        raise NotFound(say("step_not_measured", step=step), say("measured_steps", steps=known))
    chosen = newest if step is None else found[step]
    return Anatomy(attempt=chosen.attempt, step=chosen.step, points=chosen.points, steps=steps)


def warnings(session: Session, row: JobRow) -> MemoryWarnings:
    """Warnings of all attempts, newest first."""
    statement = (
        select(EventRow.data)
        .where(EventRow.job == row.id, EventRow.kind == "warning", NOT_STEPS)
        .order_by(EventRow.attempt.desc(), EventRow.sequence.desc())
        .limit(MOST_WARNINGS)
    )
    events = [WarningEvent.model_validate(data) for data in session.scalars(statement)]
    return MemoryWarnings(
        items=[MemoryWarning(**event.model_dump(include=set(MemoryWarning.model_fields))) for event in events]
    )


def ask(connection: redis.Redis, row: JobRow, action: TrainerRequest) -> None:
    """Tell a running job's trainer. Raises Conflict where it cannot be, Unavailable without Redis."""
    if row.state != JobState.RUNNING or not row.machine:
        raise Conflict(say("only_running_is_measured", state=row.state), say("wait_or_retry"))
    if action == "snapshot" and not row.gpus:
        raise Conflict(say("cpu_keeps_no_history"), say("measure_instead"))
    message = Control(job=row.id, attempt=row.attempt, action=action)
    try:
        connection.publish(wire.control(row.machine), message.model_dump_json())
    except redis.RedisError as error:
        raise Unavailable(say("worker_unreachable"), say("try_again")) from error
