"""Trace requests at the worker: answered once each, in words where there is no trace, whatever becomes of the tracer."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.waiting import until
from tests.worker.parts import Parts
from tunescope import wire
from tunescope.settings import WorkerSettings
from tunescope.spec import parse_spec
from tunescope.wire import TraceAnswer, TraceRequest
from worker.tracedesk import TraceDesk

STANDIN = (sys.executable, str(Path(__file__).with_name("standin_tracer.py")))
LIMIT_BYTES = 150_000_000


class Asked:
    """A desk that runs, and what is asked of it over Redis."""

    def __init__(self, parts: Parts, **settings: Any) -> None:
        self.client = parts.client
        options = {"data_dir": parts.data_dir, "machine": "m1", "trace_memory_bytes": LIMIT_BYTES, **settings}
        self.desk = TraceDesk(WorkerSettings(**options), parts.client, STANDIN)
        self.desk.start()

    def ask(self, name: str, key: str = "") -> None:
        spec = parse_spec({"name": name, "model": {"id": "m"}, "data": {"dataset": "d"}})
        request = TraceRequest(key=key or name, spec=spec, config={"model_type": "llama"})
        self.client.rpush(wire.trace_requests("m1"), request.model_dump_json())

    def answer(self, within: float = 20) -> TraceAnswer:
        value: Any = until(lambda: self.client.lpop(wire.TRACE_ANSWERS), within=within, what="an answer")
        return TraceAnswer.model_validate_json(value)


@pytest.fixture
def asked(parts: Parts) -> Iterator[Asked]:
    built = Asked(parts, trace_seconds=1.0)
    yield built
    built.desk.stop()


def test_the_tracer_starts_with_the_first_request_and_stays_warm(asked: Asked) -> None:
    assert asked.desk.pid is None
    asked.ask("one")
    first = asked.answer()
    assert first.key == "one" and first.machine == "m1" and first.trace and first.trace.peak_bytes == 3000
    pid = asked.desk.pid
    asked.ask("two")
    assert asked.answer().key == "two" and asked.desk.pid == pid


def test_a_doubled_request_is_computed_once(asked: Asked) -> None:
    for name in ("one", "one", "two"):
        asked.ask(name)
    counts = [answer.trace.seconds for answer in (asked.answer() for _ in range(3)) if answer.trace]
    assert counts == [1, 1, 2]


def test_what_cannot_be_traced_is_told_in_words(asked: Asked) -> None:
    asked.ask("untraceable")
    answer = asked.answer()
    assert answer.trace is None and answer.reason == "Not traceable: no path on meta tensors"


@pytest.mark.parametrize(
    ("wish", "reason"),
    [("die", "last words"), ("spin", "took longer than 1 s"), ("fat", "more than 143.1 MiB of main memory")],
)
def test_a_tracer_that_dies_or_runs_wild_is_a_reason_and_the_next_request_is_served(
    asked: Asked, wish: str, reason: str
) -> None:
    asked.ask(wish)
    answer = asked.answer()
    assert answer.trace is None and reason in (answer.reason or "")
    asked.ask("next")
    assert asked.answer().trace


def test_a_tracer_killed_in_the_middle_of_a_request_starts_again_and_answers(asked: Asked) -> None:
    asked.ask("slow")
    pid = until(lambda: asked.desk.under_way and asked.desk.pid, within=10, what="a tracer at work")
    os.kill(pid, signal.SIGKILL)
    answer = asked.answer()
    assert answer.trace and asked.desk.pid != pid


def test_a_request_that_cannot_be_read_is_answered(asked: Asked) -> None:
    asked.client.rpush(wire.trace_requests("m1"), "not json", '{"key": "k", "spec": {"from": "the future"}}')
    assert "older than the server" in (asked.answer().reason or "")


def test_the_tracer_ends_with_the_worker(asked: Asked) -> None:
    asked.ask("spin")
    pid = until(lambda: asked.desk.under_way and asked.desk.pid, within=10, what="a tracer at work")
    asked.desk.stop()
    assert not psutil.pid_exists(pid)


def test_a_machine_with_a_limit_of_nought_traces_nothing(parts: Parts) -> None:
    closed = Asked(parts, trace_seconds=0)
    closed.ask("one")
    assert not closed.desk.open
    closed.desk.stop()
    assert parts.client.llen(wire.trace_requests("m1")) == 1
