"""The OpenAPI schema and the API agree: generated requests, right and wrong, get answers that the schema announces."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS, not_a_server_error
from schemathesis.generation import GenerationMode

from backend.app import create_app
from backend.migrate import migrate
from tests.api.conftest import ADMIN_TOKEN
from tests.api.make import spec
from tunescope.settings import ServerSettings

EXAMPLES = 8
pytestmark = pytest.mark.slow

STREAMS = {("GET", "/api/jobs/{job_id}/events")}
"""Never ends for a job that waits; tests/api/test_events.py speaks to it."""
SIGNS_OUT = {("DELETE", "/api/session")}
AUTHORIZATION = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
WANTED = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


def operations() -> list[tuple[str, str, GenerationMode]]:
    """Each operation with right input, and with wrong input if it takes any."""
    paths = create_app(ServerSettings(data_dir=Path("unused"))).openapi()["paths"]
    found: list[tuple[str, str, GenerationMode]] = []
    for path, item in paths.items():
        for method, operation in item.items():
            if (method.upper(), path) in STREAMS | SIGNS_OUT:
                continue
            found.append((method.upper(), path, GenerationMode.POSITIVE))
            if operation.get("parameters") or "requestBody" in operation:
                found.append((method.upper(), path, GenerationMode.NEGATIVE))
    return found


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[FastAPI]:
    """A started server with one job and one data set."""
    folder = tmp_path_factory.mktemp("schema")
    made = ServerSettings(
        data_dir=folder / "data", database_url="", redis_url=redis_url, admin_token=ADMIN_TOKEN, ask_hubs=False
    )
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
    migrate(made)
    app = create_app(made, page_dir=folder)
    with TestClient(app, headers=AUTHORIZATION) as client:
        assert client.post("/api/jobs", json=spec()).status_code == 201
        yield app


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> Any:
    return schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=AUTHORIZATION)


@pytest.mark.parametrize(("method", "path", "mode"), operations())
def test_answers_are_as_announced(schema: Any, method: str, path: str, mode: GenerationMode) -> None:
    checks = [not_a_server_error, *CHECKS.get_by_names(WANTED)]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(headers=AUTHORIZATION, checks=checks)

    ask()


def test_a_stranger_is_refused_as_announced(app: FastAPI) -> None:
    with TestClient(app) as client:
        answer = client.get("/api/jobs")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    responses = app.openapi()["paths"]["/api/jobs"]["get"]["responses"]
    assert responses["401"] == {"$ref": "#/components/responses/Problem401"}
