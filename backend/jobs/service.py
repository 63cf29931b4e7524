"""The rules of jobs: accept, list, cancel, retry."""

import math
import time
from pathlib import Path

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from backend.datasets.service import find_dataset
from backend.estimates.resolve import estimate_or_reason
from backend.jobs.tables import JobRow
from backend.jobs.transitions import move, requeue
from backend.models.service import find_model
from backend.users.service import new_id
from backend.users.tables import UserRow
from tunescope.problems import Conflict, FieldError, Forbidden, InvalidInput, NotFound
from tunescope.settings import ServerSettings
from tunescope.spec import JobSpec
from tunescope.states import TERMINAL, JobState


def create(session: Session, settings: ServerSettings, owner: UserRow, spec: JobSpec) -> JobRow:
    """Queue a job. Raises InvalidInput for a spec that cannot run on this server."""
    refuse_what_cannot_run(session, settings, spec)
    estimate, reason = estimate_or_reason(session, settings, spec)
    row = JobRow(
        id=new_id(),
        name=spec.name,
        state=JobState.QUEUED.value,
        attempt=1,
        fence=0,
        priority=spec.placement.priority,
        owner_id=owner.id,
        spec=spec.model_dump(mode="json"),
        estimate=estimate,
        estimate_unknown_because=reason,
        gpus=[],
        step=0,
        total_steps=spec.schedule.max_steps,
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    return row


def refuse_what_cannot_run(session: Session, settings: ServerSettings, spec: JobSpec) -> None:
    errors: list[FieldError] = []
    if spec.precision.quantization.startswith("gptq"):
        errors.append(
            FieldError("precision.quantization", "gptq is for estimates only", "choose none, nf4, fp4 or int8 to train")
        )
    if spec.parallelism.gpus > 1 or spec.parallelism.strategy != "none" or spec.parallelism.offload != "none":
        errors.append(
            FieldError(
                "parallelism.gpus",
                "this version trains on one GPU; several GPUs, sharding and offload are for estimates",
                "set gpus to 1, strategy to none and offload to none",
            )
        )
    if spec.model.source == "catalogue":
        errors.append(
            FieldError(
                "model.source", "catalogue models are for estimates only", "choose huggingface, modelscope or library"
            )
        )
    if spec.model.source == "library" and find_model(session, settings, spec.model.id) is None:
        errors.append(
            FieldError(
                "model.id", f"there is no model {spec.model.id} in the library", "see the Models page for what is there"
            )
        )
    dataset = find_dataset(session, spec.data.dataset)
    if dataset is None:
        errors.append(
            FieldError(
                "data.dataset", f"there is no data set {spec.data.dataset}", "upload it on the Data sets page first"
            )
        )
    elif dataset.rows == 0:
        errors.append(
            FieldError("data.dataset", "this data set has no usable row", "mend its rows and upload it again")
        )
    if errors:
        raise InvalidInput("This job cannot run as it is.", errors=errors)


def readable() -> Select[JobRow, str]:
    """Every job with its owner's name: the whole team sees all jobs, only owner and admins change them."""
    return select(JobRow, UserRow.username).join(UserRow, UserRow.id == JobRow.owner_id)


def get(session: Session, job_id: str) -> tuple[JobRow, str]:
    found = session.execute(readable().where(JobRow.id == job_id).execution_options(populate_existing=True)).first()
    if found is None:
        raise NotFound(f"There is no job {job_id}.", "See the list of jobs.")
    return found[0], found[1]


def get_own(session: Session, user: UserRow, job_id: str) -> tuple[JobRow, str]:
    """A job that ``user`` may change."""
    row, username = get(session, job_id)
    if user.role != "admin" and row.owner_id != user.id:
        raise Forbidden("This job belongs to somebody else.", f"Ask {username} or an admin.")
    return row, username


def page_of(
    session: Session, *, state: str | None, owner: str | None, query: str | None, cursor: str | None, limit: int
) -> tuple[list[tuple[JobRow, str]], str | None]:
    """Jobs, newest first, and the cursor of the next page."""
    statement = readable()
    if state:
        wanted = [part for part in state.split(",") if part]
        unknown = [part for part in wanted if part not in set(JobState)]
        if unknown:
            raise InvalidInput("Unknown state.", errors=[FieldError("state", f"{unknown[0]} is not a state")])
        statement = statement.where(JobRow.state.in_(wanted))
    if owner:
        statement = statement.where(UserRow.username == owner)
    if query:
        pattern = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        statement = statement.where(or_(JobRow.name.ilike(pattern, escape="\\"), JobRow.id == query))
    if cursor:
        created_at, job_id = parse_cursor(cursor)
        older = and_(JobRow.created_at == created_at, JobRow.id < job_id)
        statement = statement.where(or_(JobRow.created_at < created_at, older))
    statement = statement.order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit + 1)
    found = [(row, username) for row, username in session.execute(statement)]
    page, rest = found[:limit], found[limit:]
    return page, f"{page[-1][0].created_at!r}~{page[-1][0].id}" if rest else None


def parse_cursor(cursor: str) -> tuple[float, str]:
    created_at, _, job_id = cursor.partition("~")
    try:
        moment = float(created_at)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment):
        raise InvalidInput("Unknown cursor.", errors=[FieldError("cursor", "use next_cursor of the page before")])
    return moment, job_id


def cancel(session: Session, user: UserRow, job_id: str) -> JobRow:
    """Queued jobs end at once; running ones are told to save and leave."""
    row, _ = get_own(session, user, job_id)
    if row.state in TERMINAL:
        raise Conflict(f"This job has already {row.state}.")
    moved = move(session, job_id, JobState.CANCELLED) if row.state == JobState.QUEUED else False
    if not moved:
        move(session, job_id, JobState.CANCELLING)
    return get(session, job_id)[0]


def retry(session: Session, user: UserRow, job_id: str) -> JobRow:
    """Queue a failed or cancelled job again as a new attempt, from its last checkpoint if it has one."""
    row, _ = get_own(session, user, job_id)
    if row.state not in (JobState.FAILED, JobState.CANCELLED):
        raise Conflict(f"Only failed or cancelled jobs can be retried; this one is {row.state}.", "Clone it instead.")
    requeue(session, row, resume_from_attempt=row.attempt if row.started_at else None)
    return get(session, job_id)[0]


def remove(session: Session, user: UserRow, job_id: str) -> None:
    row, _ = get_own(session, user, job_id)
    if row.state not in TERMINAL:
        raise Conflict("This job has not ended.", "Cancel it first.")
    session.delete(row)


def artifacts_dir(settings: ServerSettings, row: JobRow) -> Path:
    return settings.attempt_dir(row.id, row.attempt) / "artifacts"
