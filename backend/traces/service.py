"""The rules of traces: ask once for each key, and keep what workers answer. Only the controller sends requests."""

import time
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.datasets.lengths import lengths_of
from backend.estimates.devices import device_of_estimate
from backend.estimates.resolve import architecture_of, config_of, estimate_spec, padded_spec
from backend.jobs.tables import JobRow
from backend.measured.probed import with_trace
from backend.traces.schemas import TraceState, TraceStatus, status_of
from backend.traces.tables import TraceRow
from tunescope.memory.estimate import check, workload
from tunescope.memory.stack import DEFAULT
from tunescope.memory.trace_key import trace_key
from tunescope.problems import NotFound, Problem, Unavailable
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings
from tunescope.spec import JobSpec
from tunescope.states import TERMINAL
from tunescope.stored_spec import runnable_spec
from tunescope.wire import MachineReport, TraceAnswer

AGAIN_SECONDS = 60.0
"""A failed trace is not asked for again by itself within this time: its reason has most likely not changed."""
PERSON_SECONDS = 3.0
"""When a person asks again, it is after this time."""
MOST_PENDING = 500
KEPT_SECONDS = 30 * 86400
"""How long a trace that no job points to is kept."""
NO_TRACER = say("no_tracer")
WAITS = say("trace_begins")


def tracing_machines(machines: Sequence[MachineReport]) -> list[MachineReport]:
    return sorted((machine for machine in machines if machine.traces), key=lambda machine: machine.name)


def versions_for(machines: Sequence[MachineReport], wanted: str | None = None) -> dict[str, str]:
    """Library versions of the machine that a spec is likely to run on; empty while no tracing worker is connected."""
    able = tracing_machines(machines)
    chosen = next((machine for machine in able if machine.name == wanted), able[0] if able else None)
    return chosen.versions if chosen else {}


def ask(
    session: Session,
    settings: ServerSettings,
    spec: JobSpec,
    versions: Mapping[str, str],
    again_seconds: float = AGAIN_SECONDS,
) -> TraceRow:
    """The row of a spec's trace, asked for if it is not there, or if it failed ``again_seconds`` ago.

    Raises Problem for a spec that cannot be traced.
    """
    config = config_of(session, settings, spec)
    spec = padded_or_as_it_is(session, settings, spec)
    key = trace_key(spec, config, versions)
    now = time.time()
    row = session.get(TraceRow, key, with_for_update=True)
    if row is None:
        refuse_flood(session)
        row = TraceRow(
            key=key,
            state="pending",
            spec=spec.model_dump(mode="json"),
            config=config,
            versions=dict(versions),
            formula_bytes=formula_bytes(session, settings, spec),
            tries=0,
            asked_at=now,
        )
        tell(row, WAITS if versions else NO_TRACER)
        return insert(session, row)
    if row.state == "failed" and now - (row.answered_at or 0) > again_seconds:
        row.state, row.tries, row.sent_at, row.answered_at = "pending", 0, None, None
        tell(row, WAITS)
    row.asked_at = now
    return row


def refuse_impossible(session: Session, settings: ServerSettings, spec: JobSpec) -> None:
    """Raises InvalidInput for settings that an estimate refuses too. Not for a model that only the tracer knows."""
    try:
        architecture = architecture_of(session, settings, spec)
    except Problem:
        return
    check(spec, architecture, workload(spec, architecture, lengths_of(session, settings, spec)), DEFAULT)


def padded_or_as_it_is(session: Session, settings: ServerSettings, spec: JobSpec) -> JobSpec:
    """As long as its rows are; a model that only the tracer knows is traced at ``max_length``."""
    try:
        return padded_spec(session, settings, spec)
    except Problem:
        return spec


def insert(session: Session, row: TraceRow) -> TraceRow:
    """Add a row; that of another transaction if it was faster."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        found = session.get(TraceRow, row.key, populate_existing=True)
        assert found is not None
        return found
    return row


def refuse_flood(session: Session) -> None:
    pending = session.scalar(select(func.count()).select_from(TraceRow).where(TraceRow.state == "pending"))
    if (pending or 0) >= MOST_PENDING:
        raise Unavailable(say("too_many_to_trace", specs=MOST_PENDING), say("try_again_in_minutes", minutes=5))


def formula_bytes(session: Session, settings: ServerSettings, spec: JobSpec) -> int | None:
    """The closed form's allocated bytes; None for an architecture that it does not know."""
    try:
        return estimate_spec(session, settings, spec).allocated_bytes
    except Problem:
        return None


def status(session: Session, key: str) -> TraceStatus:
    row = session.get(TraceRow, key)
    if row is None:
        raise NotFound(say("no_such_trace"), say("ask_for_trace_again"))
    return status_of(row)


def status_of_job(session: Session, job: JobRow) -> TraceStatus:
    """A job's trace. The controller asks for it soon after the job was submitted."""
    if job.trace_key is not None:
        return status(session, job.trace_key)
    if job.trace_unknown_because is not None:
        sentence = Sentence.model_validate(job.trace_unknown_sentence) if job.trace_unknown_sentence else None
        return TraceStatus(key=None, state="failed", reason=job.trace_unknown_because, reason_sentence=sentence)
    if job.state in TERMINAL:
        return without_key("failed", say("ended_untraced"))
    return without_key("pending", NO_TRACER)


def without_key(state: TraceState, reason: Sentence) -> TraceStatus:
    return TraceStatus(key=None, state=state, reason=reason.text, reason_sentence=reason)


def ask_for_jobs(session: Session, settings: ServerSettings, machines: Sequence[MachineReport]) -> None:
    """Ask for the trace of every job that has not ended and has none yet. Waits for a worker, whose versions count."""
    if not tracing_machines(machines):
        return
    unasked = select(JobRow).where(
        JobRow.trace_key.is_(None), JobRow.trace_unknown_because.is_(None), JobRow.state.not_in(TERMINAL)
    )
    for job in session.scalars(unasked.order_by(JobRow.created_at).limit(50)):
        try:
            row = ask(session, settings, runnable_spec(job.spec), versions_for(machines, job.machine))
        except Unavailable:
            return
        except (Problem, ValueError, OSError) as error:
            reason = say("not_traceable", because=error.detail_sentence if isinstance(error, Problem) else str(error))
            job.trace_unknown_because, job.trace_unknown_sentence = reason.text, reason.model_dump()
            continue
        job.trace_key = row.key
        session.flush()
        if row.state == "ready":
            verify_jobs(session, row)


def record(session: Session, answer: TraceAnswer) -> None:
    """Keep an answer. One that comes doubled or late changes nothing, but a trace always beats a failure."""
    row = session.get(TraceRow, answer.key, with_for_update=True)
    if row is None or row.state == "ready" or (row.state == "failed" and answer.trace is None):
        return
    row.answered_at = time.time()
    if answer.trace is None:
        fail(row, answer.reason_sentence or answer.reason or say("trace_unexplained"))
        return
    row.state = "ready"
    tell(row, None)
    row.trace = answer.trace.model_dump(mode="json")
    session.flush()
    verify_jobs(session, row)


def fail(row: TraceRow, reason: Sentence | str) -> None:
    row.state, row.answered_at = "failed", time.time()
    tell(row, reason)


def tell(row: TraceRow, reason: Sentence | str | None) -> None:
    """A worker of an older release gives its reason in English only."""
    told = isinstance(reason, Sentence)
    row.reason, row.reason_sentence = (reason.text, reason.model_dump()) if told else (reason, None)


def verify_jobs(session: Session, row: TraceRow) -> None:
    """Give the jobs of a ready trace that have not ended the exact figures: placement goes by them."""
    trace = status_of(row).trace
    assert trace is not None
    for job in session.scalars(select(JobRow).where(JobRow.trace_key == row.key, JobRow.state.not_in(TERMINAL))):
        if job.estimate is not None:
            job.estimate = with_trace(job.estimate, trace, device_of_estimate(session, job.estimate))


def waited_for(session: Session, keys: Sequence[str]) -> set[str]:
    """Those of ``keys`` whose job has not ended."""
    statement = select(JobRow.trace_key).where(JobRow.trace_key.in_(keys), JobRow.state.not_in(TERMINAL))
    return {key for key in session.scalars(statement) if key}


def forget_old(session: Session, now: float) -> None:
    """Delete traces that nobody asked for in KEPT_SECONDS and that no job points to."""
    used = select(JobRow.trace_key).where(JobRow.trace_key == TraceRow.key).exists()
    session.execute(delete(TraceRow).where(TraceRow.asked_at < now - KEPT_SECONDS, ~used))
