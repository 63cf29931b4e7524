"""The rules of jobs: accept, list, cancel, retry."""

import time
from collections.abc import Sequence

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from backend.chats.tables import ChatRow
from backend.cursors import cursor_after, parse_cursor
from backend.estimates.resolve import estimate_or_problem
from backend.jobs.refusals import refuse_what_cannot_run
from backend.jobs.tables import CHAT, MERGE, TRAIN, AttemptRow, JobRow, Task
from backend.jobs.transitions import move, requeue
from backend.merges.tables import MergeRow
from backend.problems import details_of
from backend.telemetry.checkpoints import last_checkpoint_attempt
from backend.telemetry.lineage import last_checkpoint
from backend.telemetry.plan import plan_of
from backend.users.service import new_id
from backend.users.tables import UserRow
from tunescope.problems import Conflict, FieldError, Forbidden, InvalidInput, NotFound
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings
from tunescope.spec import JobSpec
from tunescope.states import TERMINAL, JobState
from tunescope.stored_spec import runnable_spec


def create(session: Session, settings: ServerSettings, owner: UserRow, spec: JobSpec) -> JobRow:
    """Queue a job. Raises InvalidInput for a spec that cannot run on this server."""
    refuse_what_cannot_run(session, settings, spec)
    estimate, problem = estimate_or_problem(session, settings, spec)
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
        estimate_unknown_because=str(problem) if problem else None,
        estimate_unknown_problem=details_of(problem).model_dump(mode="json") if problem else None,
        gpus=[],
        step=0,
        total_steps=spec.schedule.max_steps,
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    return row


def readable() -> Select[JobRow, str]:
    """Every job with its owner's name: the whole team sees all jobs, only owner and admins change them."""
    return select(JobRow, UserRow.username).join(UserRow, UserRow.id == JobRow.owner_id)


def get(session: Session, job_id: str) -> tuple[JobRow, str]:
    found = session.execute(readable().where(JobRow.id == job_id).execution_options(populate_existing=True)).first()
    if found is None:
        raise NotFound(say("no_such_job", job=job_id), say("see_jobs"))
    return found[0], found[1]


def get_training(session: Session, job_id: str, lock: bool = False) -> JobRow:
    """A job that trains. Raises Conflict for a chat or a merge. ``lock``: nobody else changes it meanwhile."""
    row, _ = get(session, job_id)
    if row.task != TRAIN:
        chat = row.task == CHAT
        training = session.get_one(ChatRow if chat else MergeRow, job_id).result_of
        raise Conflict(say("not_of_a_chat" if chat else "not_of_a_merge"), say("see_job_of_chat", job=training))
    return locked(session, row) if lock else row


def get_chat(session: Session, job_id: str, lock: bool = False) -> JobRow:
    """A chat. Raises NotFound for a training."""
    row, _ = get(session, job_id)
    if row.task != CHAT:
        raise NotFound(say("not_a_chat"), say("chat_start_first"))
    return locked(session, row) if lock else row


def locked(session: Session, row: JobRow) -> JobRow:
    session.refresh(row, with_for_update=True)
    return row


def get_own(session: Session, user: UserRow, job_id: str) -> tuple[JobRow, str]:
    """A job that ``user`` may change."""
    row, username = get(session, job_id)
    if user.role != "admin" and row.owner_id != user.id:
        raise Forbidden(say("not_your_job"), say("ask_owner", owner=username))
    return row, username


def page_of(
    session: Session,
    *,
    task: Task,
    state: str | None,
    owner: str | None,
    query: str | None,
    ids: str | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[tuple[JobRow, str]], str | None]:
    """Jobs, newest first, and the cursor of the next page."""
    statement = readable().where(JobRow.task == task)
    if state:
        wanted = [part for part in state.split(",") if part]
        unknown = [part for part in wanted if part not in set(JobState)]
        if unknown:
            choices = ", ".join(JobState)
            message, values = f"{unknown[0]} is not a state of a job", {"name": unknown[0], "choices": choices}
            error = FieldError("state", message, f"use some of {choices}", "no_state", values)
            raise InvalidInput(say("no_such_state"), errors=[error])
        statement = statement.where(JobRow.state.in_(wanted))
    if owner:
        statement = statement.where(UserRow.username == owner)
    if query:
        pattern = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        statement = statement.where(or_(JobRow.name.ilike(pattern, escape="\\"), JobRow.id == query))
    if ids is not None:  # none is none: a filter that is empty must not let every job pass
        statement = statement.where(JobRow.id.in_(ids.split(",")))
    if cursor:
        created_at, job_id = parse_cursor(cursor)
        older = and_(JobRow.created_at == created_at, JobRow.id < job_id)
        statement = statement.where(or_(JobRow.created_at < created_at, older))
    statement = statement.order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit + 1)
    found = [(row, username) for row, username in session.execute(statement)]
    page, rest = found[:limit], found[limit:]
    return page, cursor_after(page[-1][0].created_at, page[-1][0].id) if rest else None


def chats_of(session: Session, rows: Sequence[tuple[JobRow, str]]) -> dict[str, ChatRow]:
    """Of those jobs that are chats, what is a chat's own."""
    ids = [row.id for row, _ in rows if row.task == CHAT]
    return {chat.job: chat for chat in session.scalars(select(ChatRow).where(ChatRow.job.in_(ids)))} if ids else {}


def merges_of(session: Session, rows: Sequence[tuple[JobRow, str]]) -> dict[str, MergeRow]:
    """Of those jobs that are merges, what is a merge's own."""
    ids = [row.id for row, _ in rows if row.task == MERGE]
    return {merge.job: merge for merge in session.scalars(select(MergeRow).where(MergeRow.job.in_(ids)))} if ids else {}


def cancel(session: Session, user: UserRow, job_id: str) -> JobRow:
    """Queued jobs end at once; running ones are told to save and leave."""
    row, _ = get_own(session, user, job_id)
    if row.state in TERMINAL:
        raise Conflict(say("job_has_ended", state=row.state), say("retry_or_clone"))
    moved = move(session, job_id, JobState.CANCELLED) if row.state == JobState.QUEUED else False
    if not moved:
        move(session, job_id, JobState.CANCELLING)
    return get(session, job_id)[0]


RETRIED = frozenset((JobState.FAILED, JobState.CANCELLED))
"""States of a job that can be queued again."""


def checkpoint_step(session: Session, row: JobRow) -> int | None:
    """The step after which a retry would go on; None where it would begin at step 1, or where there is none."""
    attempt = last_checkpoint_attempt(session, row.id) if row.state in RETRIED else None
    return None if attempt is None else last_checkpoint(session, row.id, attempt)


def retry(session: Session, user: UserRow, job_id: str) -> JobRow:
    """Queue a failed or cancelled job again as a new attempt, from its last checkpoint if it has one."""
    row, _ = get_own(session, user, job_id)
    get_training(session, job_id)
    if row.state not in RETRIED:
        raise Conflict(say("cannot_be_retried", state=row.state), say("clone_instead"))
    refuse_outdated(row)
    merge = merge_of(session, job_id)
    if merge and merge.state not in TERMINAL:
        raise in_use_by(merge)
    requeue(session, row, resume_from_attempt=last_checkpoint_attempt(session, row.id))
    return get(session, job_id)[0]


def merge_of(session: Session, job_id: str) -> JobRow | None:
    """The merge of what a job trained; None where nobody has asked for one."""
    merging = select(JobRow).join(MergeRow, MergeRow.job == JobRow.id).where(MergeRow.result_of == job_id)
    return session.scalars(merging.execution_options(populate_existing=True)).first()


def in_use_by(job: JobRow) -> Conflict:
    """Why what a chat or merge works on stays as it is."""
    if job.task == CHAT:
        return Conflict(say("chat_still_open"), say("chat_end_first"))
    return Conflict(say("still_merging"), say("merge_end_first"))


def refuse_outdated(row: JobRow) -> None:
    """Raises InvalidInput where an older release took a spec that is refused by now."""
    try:
        runnable_spec(row.spec)
    except InvalidInput as error:
        raise InvalidInput(say("spec_outdated"), say("clone_with_changes"), error.errors) from error


def earlier_attempts(session: Session, job_id: str) -> Sequence[AttemptRow]:
    """How the attempts before the one at hand ended, the first one first."""
    return session.scalars(select(AttemptRow).where(AttemptRow.job == job_id).order_by(AttemptRow.attempt)).all()


def notes(session: Session, row: JobRow) -> tuple[list[str], list[Sentence]]:
    """What the attempt at hand does otherwise than asked, in English and as sentences."""
    plan = plan_of(session, row.id, row.attempt)
    return (plan.notes, plan.note_sentences) if plan else ([], [])


def remove(session: Session, user: UserRow, job_id: str) -> list[str]:
    """Delete a job, the chats with its result and its merge. Returns the ids of all that is gone."""
    row, _ = get_own(session, user, job_id)
    if row.state not in TERMINAL:
        raise Conflict(say("job_not_ended"), say("cancel_first"))
    chats = session.scalars(select(JobRow).join(ChatRow, ChatRow.job == JobRow.id).where(ChatRow.result_of == job_id))
    merge = merge_of(session, job_id)
    gone = [row, *chats, *([merge] if merge else [])]
    for each in gone:
        if each.state not in TERMINAL:
            raise in_use_by(each)
    for each in reversed(gone):
        session.delete(each)
    return [each.id for each in gone]
