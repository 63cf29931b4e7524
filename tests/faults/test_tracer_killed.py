"""Traces through the real controller and worker while parts of them die; the tracer is a stand-in."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from backend.traces.tables import TraceRow
from tests.support.processes import words_of
from tests.support.waiting import until
from tests.worker.conftest import parts as parts
from tests.worker.parts import Parts

pytestmark = pytest.mark.slow


def trace_row(parts: Parts, job: str) -> TraceRow | None:
    with parts.sessions() as session:
        key = parts.read(session, job).trace_key
        return session.get(TraceRow, key) if key else None


def ready(parts: Parts, job: str) -> bool:
    row = trace_row(parts, job)
    return row is not None and row.state == "ready"


def tracer_pid(parts: Parts) -> int | None:
    children = psutil.Process(parts.processes["worker"].pid).children()
    return next((child.pid for child in children if "standin_tracer" in " ".join(words_of(child))), None)


def test_a_job_is_traced_while_tracer_and_worker_are_killed(parts: Parts) -> None:
    parts.start_controller()
    parts.start_worker()
    job = parts.submit("slow 400")
    first = until(lambda: tracer_pid(parts), within=20, what="a tracer")
    os.kill(first, signal.SIGKILL)
    second = until(lambda: (pid := tracer_pid(parts)) != first and pid, within=20, what="a second tracer")
    parts.kill("worker")
    until(lambda: not Path(f"/proc/{second}").exists(), within=5, what="the tracer dies with its worker")
    assert not ready(parts, job)
    parts.start_worker()
    until(lambda: ready(parts, job), within=60, what="a trace")
    estimate = parts.row(job).estimate
    assert estimate and estimate["tier"] in ("formula", "trace")


def test_a_request_lost_with_redis_is_sent_again(parts: Parts) -> None:
    parts.start_controller()
    parts.start_worker()
    job = parts.submit("slow 400")
    until(lambda: tracer_pid(parts), within=20, what="a tracer")
    parts.client.flushall()
    until(lambda: ready(parts, job), within=60, what="a trace")
