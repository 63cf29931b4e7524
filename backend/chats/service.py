"""The rules of chats: who may start one with what, and say what in it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.chats.delivery import message_of
from backend.chats.schemas import ChatPlan, Message, NewMessage
from backend.chats.tables import ChatMessageRow, ChatRow
from backend.estimates.devices import device_for
from backend.estimates.resolve import architecture_of
from backend.jobs import service as jobs
from backend.jobs.artifacts import artifacts_dir, left_adapter
from backend.jobs.tables import CHAT, JobRow
from backend.problems import details_of
from backend.users.service import new_id
from backend.users.tables import UserRow
from tunescope.memory.inference import as_asked, estimate_inference, usual_context
from tunescope.problems import Conflict, FieldError, InvalidInput, Problem
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings
from tunescope.spec import JobSpec
from tunescope.states import TERMINAL, JobState
from tunescope.stored_spec import runnable_spec

MOST_WAITING = 8
"""Messages without an answer."""
NOT_TRACED = say("chat_not_traced")


@dataclass(frozen=True)
class Predicted:
    """The memory of a chat, as far as it can be known."""

    spec: JobSpec
    context_tokens: int
    most_tokens: int | None
    estimate: dict[str, Any] | None = None
    problem: Problem | None = None


def predicted(session: Session, settings: ServerSettings, job: JobRow, asked: int | None) -> Predicted:
    """Raises InvalidInput for a longer conversation than the model can have, or a spec that is refused by now."""
    spec = as_asked(runnable_spec(job.spec))
    try:
        architecture = architecture_of(session, settings, spec)
    except Problem as error:
        return Predicted(spec, asked or usual_context(None), None, problem=error)
    most = architecture.max_positions
    if asked and most and asked > most:
        message, fix = f"the model reads {most:,} tokens at most", f"use {most:,} or less"
        error = FieldError("context_tokens", message, fix, "context_too_long", {"most": most})
        raise InvalidInput(say("chat_settings_wrong"), errors=[error])
    tokens = asked or usual_context(architecture)
    try:
        estimate = estimate_inference(spec, architecture, tokens, device_for(session, None)[0]).to_dict()
    except Problem as error:
        return Predicted(spec, tokens, most, problem=error)
    return Predicted(spec, tokens, most, estimate)


def plan(session: Session, settings: ServerSettings, job: JobRow, context_tokens: int | None) -> ChatPlan:
    """Whether a chat can be had, and its memory."""
    because: Sentence | None = None
    try:
        refuse_without_result(settings, job)
    except Conflict as error:
        because = error.detail_sentence
    found = predicted(session, settings, job, context_tokens)
    return ChatPlan(
        unavailable_because=because.text if because else None,
        unavailable_sentence=because,
        context_tokens=found.context_tokens,
        most_tokens=found.most_tokens,
        adapter=left_adapter(settings, job),
        estimate=found.estimate,
        estimate_unknown_because=str(found.problem) if found.problem else None,
        estimate_unknown_sentence=found.problem.detail_sentence if found.problem else None,
        idle_seconds=settings.chat_idle_seconds,
    )


def refuse_without_result(settings: ServerSettings, job: JobRow) -> None:
    """Raises Conflict where a job has left nothing that could be loaded."""
    if job.state not in TERMINAL or not any(artifacts_dir(settings, job).glob("*.safetensors")):
        raise Conflict(say("chat_needs_result"), say("chat_result_wanted"))


def start(
    session: Session, settings: ServerSettings, user: UserRow, job_id: str, context_tokens: int | None
) -> tuple[JobRow, ChatRow]:
    """Queue a chat with a job's result. Raises Conflict without one, or where the user has a chat with it already."""
    job = jobs.get_training(session, job_id, lock=True)
    refuse_without_result(settings, job)
    if has_open(session, user, job_id):
        raise Conflict(say("chat_already_open"), say("chat_go_on"))
    found = predicted(session, settings, job, context_tokens)
    row = JobRow(
        id=new_id(),
        task=CHAT,
        name=job.name,
        state=JobState.QUEUED.value,
        attempt=1,
        fence=0,
        priority=found.spec.placement.priority,
        owner_id=user.id,
        spec=found.spec.model_dump(mode="json"),
        estimate=found.estimate,
        estimate_unknown_because=str(found.problem) if found.problem else None,
        estimate_unknown_problem=details_of(found.problem).model_dump(mode="json") if found.problem else None,
        trace_unknown_because=NOT_TRACED.text,
        trace_unknown_sentence=NOT_TRACED.model_dump(),
        gpus=[],
        step=0,
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    chat = ChatRow(
        job=row.id,
        result_of=job.id,
        result=f"jobs/{job.id}/{job.attempt}/artifacts",
        context_tokens=found.context_tokens,
        idle_seconds=settings.chat_idle_seconds,
    )
    session.add(chat)
    session.flush()
    return row, chat


def has_open(session: Session, user: UserRow, job_id: str) -> bool:
    """Whether this user has a chat with this job's result that has not ended."""
    mine = (ChatRow.result_of == job_id, JobRow.owner_id == user.id, JobRow.state.not_in(TERMINAL))
    return session.scalar(select(JobRow.id).join(ChatRow, ChatRow.job == JobRow.id).where(*mine).limit(1)) is not None


def of_job(session: Session, job_id: str, most: int = 50) -> Sequence[tuple[JobRow, ChatRow, str]]:
    """A job's chats with their owners' names, newest first."""
    statement = (
        select(JobRow, ChatRow, UserRow.username)
        .join(ChatRow, ChatRow.job == JobRow.id)
        .join(UserRow, UserRow.id == JobRow.owner_id)
        .where(ChatRow.result_of == job_id)
        .order_by(JobRow.created_at.desc(), JobRow.id.desc())
        .limit(most)
    )
    return [(row, chat, username) for row, chat, username in session.execute(statement)]


def messages(session: Session, chat_id: str) -> list[Message]:
    jobs.get_chat(session, chat_id)
    statement = select(ChatMessageRow).where(ChatMessageRow.job == chat_id).order_by(ChatMessageRow.number)
    return [message_shown(row) for row in session.scalars(statement)]


def message_shown(row: ChatMessageRow) -> Message:
    return Message(**message_of(row).model_dump(), at=row.at, taken=row.taken, stopped=row.stopped, ended=row.ended)


def add_message(session: Session, settings: ServerSettings, user: UserRow, chat_id: str, new: NewMessage) -> Message:
    """Say something; a chat that is not ready yet hears of it when it is. Raises Conflict after its end."""
    job = open_chat(session, user, chat_id)
    chat = session.get_one(ChatRow, chat_id)
    training = session.get_one(JobRow, chat.result_of)
    if not new.adapter and not left_adapter(settings, training):
        message, fix = "every weight was trained, so that there is no adapter to leave out", "leave it true"
        error = FieldError("adapter", message, fix, "no_adapter_to_leave_out")
        raise InvalidInput(say("chat_settings_wrong"), errors=[error])
    there = ChatMessageRow.job == chat_id
    if new.again_of is not None and session.get(ChatMessageRow, (chat_id, new.again_of)) is None:
        message, fix = f"there is no message {new.again_of}", "give the number of one that is there"
        error = FieldError("again_of", message, fix, "no_such_message", {"number": new.again_of})
        raise InvalidInput(say("chat_settings_wrong"), errors=[error])
    waiting = session.scalar(select(func.count()).where(there, ChatMessageRow.ended.is_(False))) or 0
    if waiting >= MOST_WAITING:
        raise Conflict(say("chat_waits_for_answers", count=waiting), say("chat_stop_or_wait"))
    number = (session.scalar(select(func.max(ChatMessageRow.number)).where(there)) or 0) + 1
    row = ChatMessageRow(
        job=job.id,
        number=number,
        said=new.model_dump(),
        at=time.time(),
        taken=False,
        stopped=False,
        ended=False,
    )
    session.add(row)
    session.flush()
    return message_shown(row)


def stop_answers(session: Session, user: UserRow, chat_id: str) -> list[Message]:
    """Ask for the end of every answer that has not ended; the chat stays open."""
    open_chat(session, user, chat_id)
    statement = select(ChatMessageRow).where(ChatMessageRow.job == chat_id, ChatMessageRow.ended.is_(False))
    for row in session.scalars(statement):
        row.stopped = True
    session.flush()
    return messages(session, chat_id)


def open_chat(session: Session, user: UserRow, chat_id: str) -> JobRow:
    """A chat of the user's own, or of anybody's for an admin. Raises Conflict after its end."""
    jobs.get_own(session, user, chat_id)
    row = jobs.get_chat(session, chat_id, lock=True)
    if row.state in TERMINAL or row.state == JobState.CANCELLING:
        raise Conflict(say("chat_has_ended"), say("chat_start_again"))
    return row
