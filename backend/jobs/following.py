"""Jobs follow what their workers tell: states, and progress. Events of older attempts change nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.orm import Session

from backend.jobs.reservation import highest, predicted_context
from backend.jobs.tables import JobRow
from backend.jobs.transitions import move
from backend.measured.accuracy import keep_accuracy
from tunescope.events import JobEvent, LogEvent, PlanEvent, StageEvent, StateEvent, StepEvent
from tunescope.states import ACTIVE, TERMINAL, JobState

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
    )
)
CONTEXT = JobRow.estimate["ledger"]["runtime_context"].as_integer()


def follow(session: Session, by_job: Mapping[str, Sequence[JobEvent]]) -> None:
    """Follow a batch of events of many jobs; most of them have only taken a few steps, which is one statement for all."""
    stepped = {job: steps for job, events in by_job.items() if (steps := only_steps(events)) is not None}
    follow_steps(session, stepped)
    for job, events in by_job.items():
        if job not in stepped:
            apply_events(session, job, events)


def only_steps(events: Sequence[JobEvent]) -> list[StepEvent] | None:
    """The steps among events that are only steps and log lines; None if there is anything else."""
    steps: list[StepEvent] = []
    for event in events:
        if isinstance(event, StepEvent):
            steps.append(event)
        elif not isinstance(event, LogEvent):
            return None
    return steps


def follow_steps(session: Session, stepped: Mapping[str, Sequence[StepEvent]]) -> None:
    wanted = [job for job, steps in stepped.items() if steps]
    columns = (JobRow.id, JobRow.attempt, JobRow.state, JobRow.step, JobRow.latest, JobRow.peak_gpu_bytes, CONTEXT)
    changes: list[dict[str, Any]] = []
    for job, attempt, state, step, latest, peak, context in session.execute(
        select(*columns).where(JobRow.id.in_(wanted))
    ):
        mine = [event for event in stepped[job] if event.attempt == attempt]
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
                    "peak": highest(peak, mine, context),
                }
            )
    if changes:
        session.connection().execute(PROGRESS, changes)


def after_steps(
    step: int, latest: Mapping[str, Any] | None, events: Sequence[StepEvent]
) -> tuple[StepEvent, dict[str, Any]] | None:
    """The last of ``events`` that is not behind ``step``, and what a job tells of it; None if all are."""
    mean = (latest or {}).get("mean_step_seconds")
    last: StepEvent | None = None
    for event in events:
        if event.step < step:
            continue
        last, step = event, event.step
        mean = event.step_seconds if not mean else mean + SMOOTHING * (event.step_seconds - mean)
    if last is None:
        return None
    return last, {
        "loss": last.loss,
        "tokens_per_second": last.tokens_per_second,
        "memory": [figure.model_dump() for figure in last.memory],
        "mean_step_seconds": mean,
    }


def apply_events(session: Session, job_id: str, events: Sequence[JobEvent]) -> None:
    """Follow the events of one job's newest attempt, one after the other."""
    row = session.get(JobRow, job_id, populate_existing=True)
    if row is None:
        return
    steps: list[StepEvent] = []
    for event in events:
        if event.attempt != row.attempt or isinstance(event, LogEvent):
            continue
        if isinstance(event, StepEvent):
            steps.append(event)
            continue
        follow_progress(row, steps)
        steps = []
        if isinstance(event, StateEvent):
            session.flush()
            follow_state(session, row, event)
        elif row.state in ACTIVE:
            follow_preparation(row, event)
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


def follow_preparation(row: JobRow, event: JobEvent) -> None:
    if isinstance(event, PlanEvent):
        row.total_steps = event.total_steps
    elif isinstance(event, StageEvent):
        row.stage = event.stage


def follow_progress(row: JobRow, steps: Sequence[StepEvent]) -> None:
    progress = after_steps(row.step, row.latest, steps) if row.state in ACTIVE else None
    if progress:
        last, row.latest = progress
        row.step, row.total_steps, row.stage = last.step, last.total_steps, None
        row.peak_gpu_bytes = highest(row.peak_gpu_bytes, steps, predicted_context(row.estimate))
