"""The rules of merges: of which job, by whom, and what it takes."""

import shutil
import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.estimates.resolve import architecture_of, config_of
from backend.jobs import service as jobs
from backend.jobs.artifacts import kept, left_adapter
from backend.jobs.tables import MERGE, JobRow
from backend.jobs.transitions import requeue
from backend.merges.tables import MergeRow
from backend.problems import ProblemDetails, details_of
from backend.telemetry.plan import plan_of
from backend.users.service import new_id
from backend.users.tables import UserRow
from tunescope.memory.merging import merged_bytes, merging_bytes
from tunescope.problems import Conflict, Problem
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.states import TERMINAL, JobState
from tunescope.stored_spec import stored_spec
from tunescope.wire import MergeOptions

MERGED = "merged/"
"""Where the merged model is among a job's files."""
NOT_PREDICTED = say("merge_not_predicted")


@dataclass(frozen=True)
class Published:
    """A job's model as it was published."""

    quantized: bool
    disk_bytes: int
    """Of the merged model, about."""
    memory_bytes: int
    """Main memory while it is merged, about."""


@dataclass(frozen=True)
class Standing:
    """How a job's merge stands."""

    unavailable: ProblemDetails | None
    merged: bool
    published: Published | None
    merge: JobRow | None


def standing(session: Session, settings: ServerSettings, job_id: str) -> Standing:
    """Whether a job's adapter can be merged, what that takes, and how far it has come. Raises Conflict for what is no training."""
    job = jobs.get_training(session, job_id)
    merge = jobs.merge_of(session, job_id)
    published = published_weights(session, settings, job)
    unavailable: ProblemDetails | None = None
    if not under_way(merge):
        try:
            refuse_unmergeable(session, settings, job, published)
        except Problem as error:
            unavailable = details_of(error)
    merged = is_merged(session, settings, job)
    return Standing(unavailable, merged, published, merge)


def start(session: Session, settings: ServerSettings, user: UserRow, job_id: str) -> JobRow:
    """Queue the merge of a job's adapter; the one under way where there is one. Raises Conflict where it cannot be merged."""
    jobs.get_own(session, user, job_id)
    job = jobs.get_training(session, job_id, lock=True)
    merge = jobs.merge_of(session, job_id)
    if merge and under_way(merge):
        return merge
    published = published_weights(session, settings, job)
    refuse_unmergeable(session, settings, job, published)
    memory = published.memory_bytes if published else None
    if merge is None:
        try:
            with session.begin_nested():
                return first(session, job, memory)
        except IntegrityError:  # somebody else's click at the same moment was quicker
            session.expire_all()
            return session.get_one(JobRow, session.scalars(select(MergeRow.job).filter_by(result_of=job_id)).one())
    # What is to be said of how it ended before stays, as with a training that is run again.
    about = session.get_one(MergeRow, merge.id)
    about.of_attempt, about.memory_bytes = job.attempt, memory
    requeue(session, merge, resume_from_attempt=None)
    return merge


def first(session: Session, job: JobRow, memory_bytes: int | None) -> JobRow:
    """The merge of a job that had none. It is its owner's, whoever asks for it: who may end the job may end it."""
    row = JobRow(
        id=new_id(),
        task=MERGE,
        name=job.name,
        state=JobState.QUEUED.value,
        attempt=1,
        fence=0,
        priority=job.priority,
        owner_id=job.owner_id,
        spec=job.spec,
        estimate_unknown_because=NOT_PREDICTED.text,
        trace_unknown_because=NOT_PREDICTED.text,
        trace_unknown_sentence=NOT_PREDICTED.model_dump(),
        gpus=[],
        step=0,
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    session.add(MergeRow(job=row.id, result_of=job.id, of_attempt=job.attempt, memory_bytes=memory_bytes))
    session.flush()
    return row


def under_way(merge: JobRow | None) -> bool:
    return merge is not None and merge.state not in TERMINAL


def refuse_unmergeable(session: Session, settings: ServerSettings, job: JobRow, published: Published | None) -> None:
    """Raises Conflict where there is nothing to merge, or it cannot be kept; InvalidInput for a spec that is refused by now."""
    if job.state not in TERMINAL:
        raise Conflict(say("merge_needs_end", state=job.state), say("merge_when_ended"))
    spec = stored_spec(job.spec)
    if spec.adaptation.method != "lora":
        raise Conflict(say("nothing_to_merge"), say("whole_model_is_there"))
    if not left_adapter(settings, job) or plan_of(session, job.id, job.attempt) is None:
        raise no_adapter()
    if is_merged(session, settings, job):
        raise Conflict(say("merged_already"), say("merged_is_there", job=job.id))
    jobs.refuse_outdated(job)
    if published is None:
        return  # the worker finds it, and refuses what cannot be
    if published.quantized:
        raise Conflict(say("merge_needs_plain_weights"), say("train_plain_release"))
    needed, free = published.disk_bytes, shutil.disk_usage(settings.data_dir).free
    if needed > free:
        raise Conflict(say("merged_not_kept", needed_bytes=needed, free_bytes=free), say("free_space_to_merge"))


def no_adapter() -> Conflict:
    return Conflict(say("no_adapter_left"), say("adapter_wanted"))


def is_merged(session: Session, settings: ServerSettings, job: JobRow) -> bool:
    """Whether the merged model is there: told whole by a worker, and not taken away since."""
    return any(
        file.name.startswith(MERGED) and file.name.endswith(".safetensors") for file in kept(session, settings, job)
    )


def published_weights(session: Session, settings: ServerSettings, job: JobRow) -> Published | None:
    """What is known of the model as it was published; None where it is not known here."""
    spec = stored_spec(job.spec)
    try:
        config = config_of(session, settings, spec)
        architecture = architecture_of(session, settings, spec, config)
    except Problem:
        return None
    return Published(
        quantized=architecture.stored is not None,
        disk_bytes=merged_bytes(architecture, config),
        memory_bytes=merging_bytes(architecture, config),
    )


def merge_options(session: Session, merge: JobRow) -> MergeOptions:
    """What the worker needs to know of the training. Raises Conflict where it never came so far."""
    about = session.get_one(MergeRow, merge.id)
    job = session.get_one(JobRow, about.result_of)
    run = plan_of(session, job.id, about.of_attempt)
    if run is None:
        raise no_adapter()
    result = f"jobs/{job.id}/{about.of_attempt}/artifacts"
    return MergeOptions(result=result, plan=run, steps=job.step, loss=(job.latest or {}).get("loss"))
