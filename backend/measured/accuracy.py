"""The server's own accuracy table: one row a finished job that was measured."""

from statistics import median
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from backend.cursors import cursor_after, parse_cursor
from backend.jobs.tables import JobRow
from backend.measured.comparison import CategoryComparison, Prediction, compare, on_gpu, totals
from backend.measured.probed import formula_of
from backend.measured.schemas import Accuracy, AccuracyItem, Calibration
from backend.measured.tables import AccuracyRow
from backend.telemetry.plan import plan_of
from backend.telemetry.tables import NOT_STEPS, EventRow
from tunescope.events import LedgerEvent
from tunescope.spec import JobSpec
from tunescope.stored_spec import stored_spec

LEAST_RUNS = 5
MOST_RUNS = 500
"""The newest runs of a device that calibrate it."""
NOTE = (
    "Errors are predicted minus measured, in percent of measured, over the categories that can be compared. "
    "On the CPU those are the tensors that live for the whole run; kernels and allocator of the CPU differ from the GPU's."
)

OF_THE_MODEL = frozenset({"weights", "quantization_state"})
OF_TRAINING = frozenset({"master_weights", "adapters", "gradients", "optimizer_states"})


def prediction_of(row: JobRow) -> Prediction | None:
    """The estimate that was made when the job was submitted, by formula."""
    estimate = formula_of(row.estimate) or {}
    ledger = estimate.get("ledger")
    if not ledger:
        return None
    spec = stored_spec(row.spec)
    # Adapters are float32 beside a 16-bit model unless the spec says otherwise, and what trains them with them.
    adapters_apart = spec.adaptation.method == "lora" and spec.precision.adapter_dtype == "float32"
    typed = OF_THE_MODEL if adapters_apart else OF_THE_MODEL | OF_TRAINING
    return Prediction(ledger, str(estimate.get("site", "")), spec.precision.dtype, typed)


def ledger_events(session: Session, job: str, attempt: int | None = None) -> list[LedgerEvent]:
    """Measured ledgers of a job, oldest first."""
    statement = select(EventRow.data).where(EventRow.job == job, EventRow.kind == "ledger", NOT_STEPS)
    if attempt is not None:
        statement = statement.where(EventRow.attempt == attempt)
    found = session.scalars(statement.order_by(EventRow.attempt, EventRow.sequence))
    return [LedgerEvent.model_validate(data) for data in found]


def steady(ledgers: list[LedgerEvent]) -> LedgerEvent | None:
    """The highest step among those that began with optimizer states; without one, the highest."""
    own = [event for event in ledgers if not event.probe]
    later = [event for event in own if event.step > 1]
    return max(later or own, key=lambda event: event.total_bytes, default=None)


def keep_accuracy(session: Session, row: JobRow) -> None:
    """Write the accuracy row of a job that has ended, if it was estimated and measured."""
    measured, prediction = steady(ledger_events(session, row.id, row.attempt)), prediction_of(row)
    if measured is None or prediction is None:
        return
    comparison = compare(prediction, measured)
    predicted, bytes_measured, _ = totals(comparison)
    if not bytes_measured:  # nothing can be compared, and an error of nothing would be a made-up one
        return
    session.merge(
        AccuracyRow(
            job=row.id,
            at=measured.at,
            device=device_of_attempt(session, row) or "unknown",
            on_gpu=on_gpu(measured),
            step=measured.step,
            summary=summary_of(stored_spec(row.spec)),
            comparison=[item.model_dump() for item in comparison],
            predicted_bytes=predicted,
            measured_bytes=bytes_measured,
        )
    )


def device_of_attempt(session: Session, row: JobRow) -> str | None:
    """The device that the trainer named in its plan."""
    plan = plan_of(session, row.id, row.attempt)
    return plan.device[:200] if plan else None


def summary_of(spec: JobSpec) -> dict[str, Any]:
    return {
        "model": spec.model.id,
        "method": spec.adaptation.method,
        "r": spec.adaptation.r if spec.adaptation.method == "lora" else None,
        "quantization": spec.precision.quantization,
        "dtype": spec.precision.dtype,
        "batch": spec.batch.per_device_train_batch_size,
        "accumulation": spec.batch.gradient_accumulation_steps,
        "max_length": spec.data.max_length,
        "packing": spec.data.packing,
        "gradient_checkpointing": spec.memory_savers.gradient_checkpointing,
        "attention": spec.memory_savers.attention,
        "fused_loss": spec.memory_savers.fused_loss,
        "expandable_segments": spec.memory_savers.expandable_segments,
        "optimizer": spec.optimizer.name,
    }


def accuracy_page(session: Session, cursor: str | None, limit: int) -> Accuracy:
    """Measured jobs, newest first, and what they calibrate."""
    statement = select(AccuracyRow, JobRow.name).join(JobRow, JobRow.id == AccuracyRow.job)
    if cursor:
        at, job = parse_cursor(cursor)
        statement = statement.where(or_(AccuracyRow.at < at, and_(AccuracyRow.at == at, AccuracyRow.job < job)))
    statement = statement.order_by(AccuracyRow.at.desc(), AccuracyRow.job.desc()).limit(limit + 1)
    found = [(row, name) for row, name in session.execute(statement)]
    page, rest = found[:limit], found[limit:]
    return Accuracy(
        items=[item_of(row, name) for row, name in page],
        next_cursor=cursor_after(page[-1][0].at, page[-1][0].job) if rest else None,
        calibrations=calibrations(session),
        note=NOTE,
    )


def item_of(row: AccuracyRow, name: str) -> AccuracyItem:
    measured = row.measured_bytes
    return AccuracyItem(
        job=row.job,
        name=name,
        at=row.at,
        device=row.device,
        on_gpu=row.on_gpu,
        step=row.step,
        summary=row.summary,
        predicted_bytes=row.predicted_bytes,
        measured_bytes=measured,
        error_percent=100 * (row.predicted_bytes - measured) / measured if measured else None,
        comparison=[CategoryComparison.model_validate(item) for item in row.comparison],
    )


def calibrations(session: Session) -> list[Calibration]:
    """Every kind of GPU with enough runs."""
    devices = session.scalars(select(AccuracyRow.device).where(AccuracyRow.on_gpu).distinct())
    return [found for device in sorted(devices) if (found := calibration(session, device)) is not None]


def calibration(session: Session, device: str) -> Calibration | None:
    """Context and fragmentation as measured on ``device``; None with fewer than LEAST_RUNS runs that tell both."""
    statement = (
        select(AccuracyRow.comparison)
        .where(AccuracyRow.on_gpu, AccuracyRow.device == device)
        .order_by(AccuracyRow.at.desc())
        .limit(MOST_RUNS)
    )
    contexts: list[int] = []
    shares: list[float] = []
    for comparison in session.scalars(statement):
        rows = {item["category"]: CategoryComparison.model_validate(item) for item in comparison}
        context, holes = rows.get("runtime_context"), rows.get("fragmentation")
        if context and context.error_bytes is not None and holes and holes.error_bytes is not None:
            contexts.append(context.measured_bytes or 0)
            shares.append((holes.measured_bytes or 0) / max(1, holes.predicted_bytes or 0))
    if len(contexts) < LEAST_RUNS:
        return None
    return Calibration(
        device=device,
        runs=len(contexts),
        context_bytes=int(median(contexts)),
        fragmentation_share=(min(shares), median(shares), max(shares)),
    )
