"""Promises under fault: a killed trainer fails its job in words, the next job runs, and cancelling keeps a checkpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from backend.database import make_engine, make_sessions
from backend.telemetry.lineage import first_step
from tests.support.processes import words_of
from tests.support.running import Running, running_server
from tests.support.waiting import until
from tests.worker.tiny import save_tiny
from tunescope.settings import ServerSettings

pytestmark = pytest.mark.slow
LONG = 100_000
"""Steps of a run that no test waits for."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    model = save_tiny(tmp_path_factory.mktemp("tiny"))
    with running_server(tmp_path_factory.mktemp("faults")) as running:
        with running.client() as client:
            client.post("/api/models", json={"name": "tiny", "path": str(model)}).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def submit(client: httpx.Client, steps: int) -> str:
    spec = {
        "name": "fault",
        "model": {"id": "tiny", "source": "library"},
        "batch": {"gradient_accumulation_steps": 1},
        "data": {"dataset": "vram-questions", "max_length": 512},
        "schedule": {"max_steps": steps, "save_steps": LONG},
    }
    answer = client.post("/api/jobs", json=spec)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    return client.get(f"/api/jobs/{job_id}").raise_for_status().json()


def first_step_of(server: Running, job_id: str, attempt: int) -> int:
    settings = ServerSettings(data_dir=server.data_dir, database_url="")
    with make_sessions(make_engine(settings.sqlalchemy_url()))() as session:
        return first_step(session, job_id, attempt) or 0


def wait_for_steps(client: httpx.Client, job_id: str, steps: int = 2) -> None:
    until(lambda: job(client, job_id)["progress"]["step"] >= steps, within=180, what=f"{steps} steps")


def trainer_of(server: Running, job_id: str) -> psutil.Process:
    for process in psutil.Process(server.process.pid).children(recursive=True):
        words = words_of(process)
        if "worker.trainer" in words and any(job_id in word for word in words):
            return process
    raise AssertionError("no trainer process")


def test_a_killed_trainer_fails_its_job_and_the_next_one_runs_is_cancelled_and_goes_on(
    server: Running, client: httpx.Client
) -> None:
    """One story, since each trainer takes seconds to start."""
    first, second, third = submit(client, LONG), submit(client, LONG), submit(client, 5)
    wait_for_steps(client, first)
    assert job(client, second)["state"] == "queued"
    assert client.post(f"/api/jobs/{third}/cancel").json()["state"] == "cancelled", "at once: it was queued"
    trainer_of(server, first).kill()
    until(lambda: job(client, first)["state"] == "failed", within=10, what="the killed job to fail")
    failure = job(client, first)["failure"]
    assert failure["reason"] in ("trainer_killed", "out_of_memory") and failure["detail"] and failure["advice"]

    wait_for_steps(client, second, 3)
    client.post(f"/api/jobs/{second}/cancel").raise_for_status()
    until(lambda: job(client, second)["state"] == "cancelled", within=60, what="the job to be cancelled")
    checkpoints = Path(server.data_dir, "jobs", second, "1", "checkpoints")
    assert list(checkpoints.glob("checkpoint-*/trainer_state.json"))
    reached = job(client, second)["progress"]["step"]
    client.post(f"/api/jobs/{second}/retry").raise_for_status()
    until(lambda: job(client, second)["progress"]["step"] > reached, within=180, what="the retry to go on")
    assert first_step_of(server, second, attempt=2) > 1, "the second attempt goes on from the checkpoint"
    shown = client.get(f"/api/jobs/{second}/metrics").json()["steps"]
    assert shown[0] == 1, "and its charts have the steps before"
    client.post(f"/api/jobs/{second}/cancel").raise_for_status()
    until(lambda: job(client, second)["state"] == "cancelled", within=60, what="the retry to be cancelled")
