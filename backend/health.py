"""Is everything there? The only route that answers without signing in."""

from importlib.metadata import PackageNotFoundError, version

import redis
from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.gpus.reports import reports
from tunescope import wire

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: str
    version: str
    controller_connected: bool
    worker_connected: bool
    database: bool
    redis: bool


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
    except redis.RedisError:
        workers, connected, controller = [], False, False
    return Health(
        status="ok" if database and connected else "degraded",
        version=installed_version(),
        controller_connected=controller,
        worker_connected=bool(workers),
        database=database,
        redis=connected,
    )
