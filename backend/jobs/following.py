"""Jobs follow what their workers tell: states, and progress. Events of older attempts change nothing."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError
from sqlalchemy import and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from backend.chats.following import ChatEvent, follow_messages
from backend.jobs.reservation import held_of_gpu, highest, predicted_context
from backend.jobs.tables import JobRow
from backend.jobs.transitions import move
from backend.measured.accuracy import keep_accuracy
from backend.measured.probed import with_probe
from backend.telemetry.tables import EventRow, StepRow
from backend.telemetry.told import Told
from tunescope.events import (
    ChatTakenEvent,
    CheckpointEvent,
    EvaluationEvent,
    JobEvent,
    LedgerEvent,
    PlanEvent,
    StageEvent,
    StateEvent,
    StepEvent,
)
from tunescope.states import ACTIVE, TERMINAL, JobState

log = logging.getLogger(__name__)

EVALUATED = "evaluation_loss"
"""In what a job tells of its newest step: the loss of the newest evaluation, once there was one."""

SMOOTHING = 0.1
"""Weight of the newest step in the mean step time that the ETA uses."""

PROGRESS = (
    update(JobRow)
    .where(
        JobRow.id == bindparam("job"),
        JobRow.attempt == bindparam("of_attempt"),
        # Not in_(): its parameters cannot be used with a list of changes.
        or_(*(JobRow.state == state.value for state in sorted(ACTIVE))),
    )
    .values(
        step=bindparam("at_step"),
        total_steps=bindparam("of_steps"),
        stage=bindparam("at_stage"),
        latest=bindparam("told"),
        peak_gpu_bytes=bindparam("peak"),
        peaks=bindparam("highest"),
    )
)
CONTEXT = JobRow.estimate["ledger"]["runtime_context"].as_integer()


def follow(session: Session, by_job: Mapping[str, Sequence[Told]]) -> None:
    """Follow a batch of events of many jobs; most of them have only taken a few steps, which is one statement for all."""
    stepped = {job: steps for job, told in by_job.items() if (steps := only_steps(told)) is not None}
    follow_steps(session, stepped)
    for job, told in by_job.items():
        if job not in stepped:
            apply_events(session, job, told)


def only_steps(told: Sequence[Told]) -> list[Told] | None:
    """The steps among events that are only steps and log lines; None if there is anything else."""
    if any(item.step is None and item.kind != "log" for item in told):
        return None
    return [item for item in told if item.step is not None]


def follow_steps(session: Session, stepped: Mapping[str, Sequence[Told]]) -> None:
    wanted = [job for job, steps in stepped.items() if steps]
    columns = (
        JobRow.id,
        JobRow.attempt,
        JobRow.state,
        JobRow.step,
        JobRow.latest,
        JobRow.peak_gpu_bytes,
        JobRow.peaks,
        CONTEXT,
    )
    changes: list[dict[str, Any]] = []
    for job, attempt, state, step, latest, peak, peaks, context in session.execute(
        select(*columns).where(JobRow.id.in_(wanted))
    ):
        mine = [item for item in stepped[job] if item.attempt == attempt]
        taken = [item.step for item in mine if item.step]
        progress = after_steps(step, latest, mine) if state in ACTIVE else None
        if progress:
            last, latest = progress
            changes.append(
                {
                    "job": job,
                    "of_attempt": attempt,
                    "at_step": last.step,
                    "of_steps": last.total_steps,
                    "at_stage": None,
                    "told": latest,
                    "peak": highest(peak, taken, context),
                    "highest": raised(peaks, (figure for step in taken for figure in step.memory)),
                }
            )
    if changes:
        session.connection().execute(PROGRESS, changes)


def after_steps(
    step: int, latest: Mapping[str, Any] | None, told: Sequence[Told]
) -> tuple[StepEvent, dict[str, Any]] | None:
    """The last of some steps that is not behind ``step``, and what a job tells of it; None if all are, or it is no step."""
    mean = (latest or {}).get("mean_step_seconds")
    last: Told | None = None
    for item in told:
        taken = item.step
        if taken is None or taken.step is None or taken.step < step:
            continue
        last, step = item, taken.step
        seconds = taken.step_seconds or 0.0
        mean = seconds if not mean else mean + SMOOTHING * (seconds - mean)
    if last is None:
        return None
    try:
        event = last.step_event()
    except ValidationError as error:
        log.error("step %s of job %s is not shown as its newest: %s", step, last.job, error)
        return None
    evaluated = {name: loss for name, loss in (latest or {}).items() if name == EVALUATED}
    return event, evaluated | {
        "loss": event.loss,
        "tokens_per_second": event.tokens_per_second,
        "memory": [figure.model_dump() for figure in event.memory],
        "mean_step_seconds": mean,
    }


class Peak(Protocol):
    """A figure of memory with the highest value that it had for a while."""

    @property
    def source(self) -> str: ...
    @property
    def peak_bytes(self) -> int | None: ...


def raised(peaks: Mapping[str, int] | None, figures: Iterable[Peak]) -> dict[str, int]:
    """The highest bytes by who measured them, now that these were told."""
    found = dict(peaks or {})
    for figure in figures:
        if figure.peak_bytes is not None and figure.peak_bytes > found.get(figure.source, -1):
            found[figure.source] = figure.peak_bytes
    return found


def apply_events(session: Session, job_id: str, told: Sequence[Told]) -> None:
    """Follow the events of one job's newest attempt, one after the other."""
    row = session.get(JobRow, job_id, populate_existing=True)
    if row is None:
        return
    steps: list[Told] = []
    for item in told:
        if item.attempt != row.attempt:
            continue
        if item.step is not None:
            steps.append(item)
            continue
        follow_progress(row, steps)
        steps = []
        if isinstance(item.event, StateEvent):
            session.flush()
            follow_state(session, row, item.event)
        elif isinstance(item.event, PlanEvent) and row.state in ACTIVE:
            follow_plan(session, row, item.event)
        elif isinstance(item.event, ChatEvent):
            follow_messages(session, item.event)
            follow_chat(row, item.event)
        elif item.event and row.state in ACTIVE:
            follow_preparation(row, item.event)
    follow_progress(row, steps)
    session.flush()


def follow_state(session: Session, row: JobRow, event: StateEvent) -> None:
    failure = event.failure.model_dump(mode="json") if event.failure else None
    columns: dict[str, Any] = {"started_at": event.at} if event.state is JobState.STARTING else {}
    catch_up(session, row, event)
    moved = move(session, row.id, event.state, fence=row.fence, failure=failure, **columns)
    session.refresh(row)
    if moved and event.state in TERMINAL:
        keep_accuracy(session, row)


def catch_up(session: Session, row: JobRow, event: StateEvent) -> None:
    """A cancel that crossed with the start: the worker's word 'cancelled' ends a job in any active state."""
    if event.state is JobState.CANCELLED and row.state in ACTIVE:
        move(session, row.id, JobState.CANCELLING, fence=row.fence)


def follow_plan(session: Session, row: JobRow, event: PlanEvent) -> None:
    """The length of the run; of one that goes on from a checkpoint also how far it is, which no step of its own may ever tell."""
    row.total_steps, row.step = event.total_steps, event.resumed_step
    if not event.resumed_step:
        return
    before = (
        select(EventRow.data)
        .join(
            StepRow, and_(*(getattr(StepRow, key) == getattr(EventRow, key) for key in ("job", "attempt", "sequence")))
        )
        .where(StepRow.job == row.id, StepRow.attempt == row.resume_from_attempt, StepRow.step == row.step)
    )
    told = session.scalar(before)
    if told is not None:
        row.latest = {"loss": told["loss"]}


def follow_preparation(row: JobRow, event: JobEvent) -> None:
    if isinstance(event, StageEvent):
        row.stage = event.stage
    elif isinstance(event, LedgerEvent) and event.probe:
        row.estimate = with_probe(row.estimate, event)
    elif isinstance(event, EvaluationEvent | CheckpointEvent):
        row.peaks = raised(row.peaks, event.memory)
        held = held_of_gpu(raised(None, event.memory), predicted_context(row.estimate))
        row.peak_gpu_bytes = max((size for size in (row.peak_gpu_bytes, held) if size is not None), default=None)
        if isinstance(event, EvaluationEvent):
            row.latest = {**(row.latest or {}), EVALUATED: event.loss}


def follow_chat(row: JobRow, event: ChatEvent) -> None:
    """What a chat holds, loaded and while it answers: as a run's steps tell it."""
    if isinstance(event, ChatTakenEvent) or not event.memory:
        return
    row.stage = None
    row.latest = {"memory": [figure.model_dump() for figure in event.memory]}
    row.peaks = raised(row.peaks, event.memory)
    held = held_of_gpu(raised(None, event.memory), predicted_context(row.estimate))
    row.peak_gpu_bytes = max((size for size in (row.peak_gpu_bytes, held) if size is not None), default=None)


def follow_progress(row: JobRow, steps: Sequence[Told]) -> None:
    progress = after_steps(row.step, row.latest, steps) if row.state in ACTIVE else None
    if progress:
        last, row.latest = progress
        row.step, row.total_steps, row.stage = last.step, last.total_steps, None
        taken = [item.step for item in steps if item.step]
        row.peak_gpu_bytes = highest(row.peak_gpu_bytes, taken, predicted_context(row.estimate))
        row.peaks = raised(row.peaks, (figure for step in taken for figure in step.memory))
