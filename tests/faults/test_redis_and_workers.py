"""Redis, the worker and the controller die in turn under a running job: no event is lost, nothing runs twice."""

import signal
import time
from pathlib import Path

import pytest

from backend.controller.dispatch import make_celery, make_order
from tests.support.waiting import until
from tests.worker.conftest import parts as parts
from tests.worker.conftest import running as running
from tests.worker.conftest import shared_parts as shared_parts
from tests.worker.parts import Parts
from tunescope import wire
from tunescope.states import JobState

pytestmark = pytest.mark.slow


def every_event_once(parts: Parts, job: str, attempt: int = 1) -> None:
    told = (parts.settings.attempt_dir(job, attempt) / "outbox.jsonl").read_bytes().count(b"\n")
    recorded = [event.sequence for event in parts.events(job) if event.attempt == attempt]
    assert recorded == list(range(1, told + 1))


def test_redis_killed_under_a_running_job_loses_no_event(running: Parts) -> None:
    job = running.submit("slow 100")
    running.wait_for(job, JobState.RUNNING, within=30)
    running.kill("redis", signal.SIGKILL)
    time.sleep(1)
    running.start_redis()
    running.wait_for(job, JobState.SUCCEEDED, within=60)
    every_event_once(running, job)
    another = running.submit("quick")
    running.wait_for(another, JobState.SUCCEEDED, within=60)


def test_redis_that_comes_back_empty_loses_no_event(running: Parts) -> None:
    job = running.submit("slow 100")
    running.wait_for(job, JobState.RUNNING, within=30)
    running.client.flushall()
    running.wait_for(job, JobState.SUCCEEDED, within=60)
    every_event_once(running, job)
    assert running.row(job).attempt == 1


def test_controller_killed_under_a_running_job(running: Parts) -> None:
    job = running.submit("slow 100")
    running.wait_for(job, JobState.RUNNING, within=30)
    running.kill("controller")
    time.sleep(1)
    running.start_controller()
    running.wait_for(job, JobState.SUCCEEDED, within=60)
    every_event_once(running, job)
    assert 0 < running.client.ttl(wire.CONTROLLER) <= wire.CONTROLLER_SECONDS, "it tells that it is there"
    running.kill("controller", signal.SIGTERM)
    assert not running.client.exists(wire.CONTROLLER), "and that it has gone"


def test_worker_killed_takes_its_trainer_along_and_the_job_goes_on_as_a_new_attempt(running: Parts) -> None:
    job = running.submit("slow 100")
    running.wait_for(job, JobState.RUNNING, within=30)
    until(lambda: running.events(job, "checkpoint"), within=30, what="a checkpoint to go on from")
    pid = running.trainer_pid(job)
    running.kill("worker")
    until(lambda: not Path(f"/proc/{pid}").exists(), within=5, what="the trainer dies with its worker")
    running.start_worker()
    row = running.wait_for(job, JobState.SUCCEEDED, within=90)
    assert row.attempt == 2 and row.resume_from_attempt == 1
    (first,) = running.earlier_attempts(job)
    assert first.failure and first.failure["reason"] == "machine_lost" and first.step > 0
    every_event_once(running, job, attempt=1)
    every_event_once(running, job, attempt=2)


def test_order_that_is_delivered_again_runs_once(running: Parts) -> None:
    job = running.submit("slow 60")
    running.wait_for(job, JobState.RUNNING, within=30)
    celery = make_celery(running.settings)
    with running.sessions() as session:
        order = make_order(session, running.settings, running.read(session, job))
    for _ in range(3):
        celery.send_task(wire.RUN, args=[order.model_dump(mode="json")], queue=wire.queue("m1"))
    running.wait_for(job, JobState.SUCCEEDED, within=30)
    celery.send_task(wire.RUN, args=[order.model_dump(mode="json")], queue=wire.queue("m1"))
    after = running.submit("quick")
    running.wait_for(after, JobState.SUCCEEDED, within=30)
    assert [event.data["state"] for event in running.events(job, "state")] == ["starting", "running", "succeeded"]


def test_order_that_was_lost_is_sent_again(parts: Parts) -> None:
    """The worker's report is forged, so the order goes to a queue that is then emptied before the worker comes."""
    report = '{"name":"m1","at":0,"gpus":[],"host_total_bytes":1,"host_available_bytes":1,"cpu_count":1,"running":[]}'
    parts.client.set(wire.machine("m1"), report, ex=60)
    parts.start_controller()
    job = parts.submit("quick")
    until(lambda: parts.client.llen(wire.queue("m1")), within=20, what="an order is sent")
    parts.client.delete(wire.queue("m1"))
    parts.start_worker()
    row = parts.wait_for(job, JobState.SUCCEEDED, within=30)
    assert row.attempt == 1
