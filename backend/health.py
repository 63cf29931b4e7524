"""Is everything there? The only route that answers without signing in."""

import time
from importlib.metadata import PackageNotFoundError, version

import redis
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.gpus.reports import reports
from backend.redis_writes import refusal
from tunescope import wire

router = APIRouter(tags=["health"])

STARTING_SECONDS = 60.0
"""How long after its start the API takes a part that it has not heard of for one that is on its way: a worker loads its libraries first."""


class Health(BaseModel):
    status: str
    version: str
    controller_connected: bool
    worker_connected: bool
    database: bool
    redis: bool
    redis_refuses: str | None = Field(
        description="Why Redis writes nothing, such as on a full disk, in its own words; null where it writes. Nobody is heard of then."
    )
    starting: bool = Field(
        description="Controller or worker is missing, but the server has only just started: they may be on their way."
    )


def installed_version() -> str:
    try:
        return version("tunescope")
    except PackageNotFoundError:
        return "unknown"


@router.get("/health")
def health(request: Request) -> Health:
    """Whether database, Redis, the controller and a worker are there."""
    try:
        with request.app.state.sessions() as session:
            session.execute(text("SELECT 1"))
        database = True
    except SQLAlchemyError:
        database = False
    try:
        workers, connected = reports(request.app.state.redis), True
        controller = bool(request.app.state.redis.exists(wire.CONTROLLER))
        refuses = None if workers and controller else refusal(request.app.state.redis)
    except redis.RedisError:
        workers, connected, controller, refuses = [], False, False, None
    young = time.monotonic() - request.app.state.started_at < STARTING_SECONDS
    return Health(
        status="ok" if database and connected and not refuses else "degraded",
        version=installed_version(),
        controller_connected=controller,
        worker_connected=bool(workers),
        database=database,
        redis=connected,
        redis_refuses=refuses,
        starting=young and connected and not refuses and not (workers and controller),
    )
