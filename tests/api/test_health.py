"""What is missing is told with its reason: not there, still on its way, or not heard of since Redis writes nothing."""

from collections.abc import Iterator

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.controller.dispatch import assign_queued
from backend.gpus.reports import reports, unheard
from backend.health import STARTING_SECONDS
from tests.api.make import spec
from tests.api.test_gpus import publish, report
from tunescope import wire
from tunescope.settings import ServerSettings


@pytest.fixture
def connection(settings: ServerSettings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url) as found:
        yield found


@pytest.fixture
def refusing(connection: redis.Redis) -> Iterator[redis.Redis]:
    """A Redis that answers, and writes nothing: it wants a copy elsewhere that is not there. A full disk looks alike."""
    connection.config_set("min-replicas-to-write", 1)
    yield connection
    connection.config_set("min-replicas-to-write", 0)


def test_parts_that_are_not_there_yet_are_on_their_way_while_the_server_is_young(
    stranger: TestClient, app: FastAPI, connection: redis.Redis
) -> None:
    assert stranger.get("/api/health").json()["starting"] is True
    connection.set(wire.CONTROLLER, "1")
    publish(connection, report(None))
    assert stranger.get("/api/health").json()["starting"] is False, "all are there"
    connection.delete(wire.CONTROLLER)
    assert stranger.get("/api/health").json()["starting"] is True
    app.state.started_at -= STARTING_SECONDS
    assert stranger.get("/api/health").json()["starting"] is False, "by now it would have come"


def test_a_redis_that_writes_nothing_is_told_and_not_a_missing_worker(
    member: TestClient, refusing: redis.Redis
) -> None:
    health = member.get("/api/health").json()
    assert health["redis"] and "replicas" in health["redis_refuses"] and health["status"] == "degraded"
    assert health["starting"] is False
    machines = member.get("/api/gpus")
    assert (
        machines.status_code == 503 and "Redis writes nothing" in machines.json()["title"] + machines.json()["detail"]
    )


def test_a_job_that_waits_meanwhile_says_so(
    member: TestClient, sessions: sessionmaker[Session], connection: redis.Redis
) -> None:
    job = member.post("/api/jobs", json=spec()).json()["id"]

    def waits() -> str:
        with sessions.begin() as session:
            assign_queued(session, reports(connection), unheard(connection))
        return member.get(f"/api/jobs/{job}").json()["waiting_because"]

    connection.config_set("min-replicas-to-write", 1)
    try:
        assert waits().startswith("Redis writes nothing, so that no machine is heard of: ")
    finally:
        connection.config_set("min-replicas-to-write", 0)
    assert waits() == "No worker is connected."
