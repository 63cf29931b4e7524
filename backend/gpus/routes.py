"""Machines and their GPUs, as their workers report them every few seconds, with the jobs that the server has there."""

import redis
from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.chats.tables import ChatRow
from backend.dependencies import CurrentUser, RedisDep, SessionDep
from backend.gpus.reports import reports, unheard
from backend.jobs.reservation import reservation
from backend.jobs.tables import JobRow, Task
from backend.merges.tables import MergeRow
from backend.users.tables import UserRow
from tunescope import wire
from tunescope.problems import Unavailable
from tunescope.sentences import say
from tunescope.states import ACTIVE, JobState

router = APIRouter(prefix="/gpus", tags=["gpus"])


class MachineJob(BaseModel):
    """A job that is at work on a machine, or on its way there."""

    id: str
    task: Task
    result_of: str | None = Field(description="Of a chat or a merge: id of the job that it belongs to.")
    name: str
    owner: str = Field(description="Username.")
    state: JobState
    gpus: list[str] = Field(description="UUIDs of its GPUs; empty where it has none.")
    reserved_bytes: int | None = Field(description="What the queue keeps for it on each GPU.")
    peak_bytes: int | None = Field(description="The most that it was measured to hold of one GPU.")
    step: int
    total_steps: int | None


class Machine(wire.MachineReport):
    jobs: list[MachineJob] = Field(default_factory=list[MachineJob])


class Machines(BaseModel):
    machines: list[Machine]


@router.get("", name="list")
def list_gpus(connection: RedisDep, session: SessionDep, _user: CurrentUser) -> Machines:
    """Connected machines with their GPUs, memory by holder, and the jobs at work there."""
    try:
        found = reports(connection)
        why = None if found else unheard(connection)
    except redis.RedisError as error:
        raise Unavailable(say("redis_silent"), say("try_again")) from error
    if why:
        raise Unavailable(why, say("free_redis_disk"))
    jobs = jobs_by_machine(session)
    return Machines(machines=[Machine(**dict(report), jobs=jobs.get(report.name, [])) for report in found])


def jobs_by_machine(session: Session) -> dict[str, list[MachineJob]]:
    """Jobs at work, oldest first, by the name of their machine."""
    statement = (
        select(JobRow, UserRow.username, func.coalesce(ChatRow.result_of, MergeRow.result_of))
        .join(UserRow, UserRow.id == JobRow.owner_id)
        .outerjoin(ChatRow, ChatRow.job == JobRow.id)
        .outerjoin(MergeRow, MergeRow.job == JobRow.id)
        .where(JobRow.state.in_(ACTIVE))
        .order_by(JobRow.assigned_at, JobRow.id)
    )
    found: dict[str, list[MachineJob]] = {}
    for row, username, result_of in session.execute(statement):
        job = MachineJob(
            id=row.id,
            task=row.task,
            result_of=result_of,
            name=row.name,
            owner=username,
            state=JobState(row.state),
            gpus=row.gpus,
            reserved_bytes=reservation(row),
            peak_bytes=row.peak_gpu_bytes,
            step=row.step,
            total_steps=row.total_steps,
        )
        found.setdefault(row.machine or "", []).append(job)
    return found
