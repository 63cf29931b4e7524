"""Chats over HTTP. A chat is a job beside its training: its state, events and end are those of any job."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query

from backend.chats import service
from backend.chats.schemas import ChatPlan, ChatStart, Message, Messages, NewMessage
from backend.dependencies import CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.jobs import service as jobs
from backend.jobs.routes import wake
from backend.jobs.schemas import Job, Jobs, job_of
from tunescope.memory.inference import LEAST_CONTEXT, MOST_CONTEXT

router = APIRouter(prefix="/jobs/{job_id}", tags=["chats"])
ContextQuery = Annotated[
    int | None, Query(ge=LEAST_CONTEXT, le=MOST_CONTEXT, description="Tokens of the longest conversation.")
]


@router.get("/chat", name="plan")
def plan(
    job_id: str, session: SessionDep, settings: SettingsDep, _user: CurrentUser, context_tokens: ContextQuery = None
) -> ChatPlan:
    """Whether this job's result can be talked to, and how much memory that would take."""
    return service.plan(session, settings, jobs.get(session, job_id)[0], context_tokens)


@router.post("/chat", status_code=201, name="start")
def start(
    job_id: str,
    session: SessionDep,
    settings: SettingsDep,
    user: CurrentUser,
    bell: RedisDep,
    after: BackgroundTasks,
    body: ChatStart | None = None,
) -> Job:
    """Begin a chat with what this job has trained: a job of its own, which waits for a GPU like any other.

    Its answers come with its own events; ``POST /api/jobs/{id}/cancel`` with its id ends it.
    """
    row, chat = service.start(session, settings, user, job_id, body.context_tokens if body else None)
    after.add_task(wake, bell, "chat")
    return job_of(row, user.username, chat=chat)


@router.get("/chats", name="list")
def list_chats(job_id: str, session: SessionDep, _user: CurrentUser) -> Jobs:
    """The newest fifty chats with this job's result, everybody's, newest first."""
    jobs.get(session, job_id)
    found = service.of_job(session, job_id)
    return Jobs(items=[job_of(row, username, chat=chat) for row, chat, username in found], next_cursor=None)


@router.get("/messages", name="messages")
def messages(job_id: str, session: SessionDep, _user: CurrentUser) -> Messages:
    """What was said in a chat; the answers are among its events."""
    return Messages(items=service.messages(session, job_id))


@router.post("/messages", status_code=201, name="say")
def say_message(
    job_id: str,
    message: NewMessage,
    session: SessionDep,
    settings: SettingsDep,
    user: CurrentUser,
    bell: RedisDep,
    after: BackgroundTasks,
) -> Message:
    """Say something in a chat. Its owner and admins only. One message is answered after the other."""
    said = service.add_message(session, settings, user, job_id, message)
    after.add_task(wake, bell, "message")
    return said


@router.post("/stop", name="stop")
def stop(job_id: str, session: SessionDep, user: CurrentUser, bell: RedisDep, after: BackgroundTasks) -> Messages:
    """End the answer under way, and those that wait; the chat stays open. Its owner and admins only."""
    found = service.stop_answers(session, user, job_id)
    after.add_task(wake, bell, "stop")
    return Messages(items=found)
