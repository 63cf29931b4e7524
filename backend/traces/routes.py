"""Exact traces over HTTP: a worker computes them, so a first ask is answered with "pending"."""

import redis
from fastapi import APIRouter, BackgroundTasks, Response

from backend.dependencies import CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.gpus.reports import reports
from backend.jobs import service as jobs
from backend.jobs.routes import wake
from backend.traces import service
from backend.traces.schemas import TraceStatus, status_of
from tunescope.spec import JobSpec
from tunescope.wire import MachineReport

router = APIRouter(tags=["traces"])


@router.post("/traces", status_code=202, name="create", responses={200: {"model": TraceStatus}})
def create_trace(
    spec: JobSpec,
    response: Response,
    session: SessionDep,
    settings: SettingsDep,
    connection: RedisDep,
    _user: CurrentUser,
    after: BackgroundTasks,
) -> TraceStatus:
    """Ask for the exact trace of a spec. 202: poll GET /api/traces/{key}. 200: it is answered already."""
    service.refuse_impossible(session, settings, spec)
    versions = service.versions_for(connected(connection))
    row = service.ask(session, settings, spec, versions, service.PERSON_SECONDS)
    if row.state == "pending":
        after.add_task(wake, connection, "trace asked")
    else:
        response.status_code = 200
    return status_of(row)


def connected(connection: redis.Redis) -> list[MachineReport]:
    try:
        return reports(connection)
    except redis.RedisError:
        return []


@router.get("/traces/{key}", name="show")
def show_trace(key: str, session: SessionDep, _user: CurrentUser) -> TraceStatus:
    """The trace behind a key of ``POST /api/traces``."""
    return service.status(session, key)


@router.get("/jobs/{job_id}/trace", name="of_job")
def trace_of_job(job_id: str, session: SessionDep, _user: CurrentUser) -> TraceStatus:
    """The exact trace of a job's memory, made when the job was submitted."""
    return service.status_of_job(session, jobs.get(session, job_id)[0])
