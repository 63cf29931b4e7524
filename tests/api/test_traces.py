"""Exact traces over HTTP and through the controller's rounds, on both databases; the worker is forged."""

import json
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.controller import traces as controller
from backend.controller.traces import Traces
from backend.jobs.tables import JobRow
from backend.jobs.transitions import move
from backend.traces.tables import TraceRow
from tests.api.make import spec
from tests.api.test_jobs import create
from tunescope import wire
from tunescope.client import Client
from tunescope.memory.trace import Replay, Trace, TracePoint
from tunescope.settings import ServerSettings
from tunescope.spec import parse_spec
from tunescope.states import JobState
from tunescope.wire import MachineReport, TraceAnswer, TraceRequest

Sessions = sessionmaker[Session]
GIB = 1024**3
VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0"}


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


class Rounds:
    """The controller's rounds, one at a time, and the worker m1 that tests play."""

    def __init__(self, settings: ServerSettings, sessions: Sessions) -> None:
        self.client = redis.Redis.from_url(settings.redis_url)
        self.sessions = sessions
        self._traces = Traces(self.client, sessions, settings)

    def step(self, *machines: MachineReport) -> None:
        self._traces.step(machines)

    def queued(self, machine: str = "m1") -> list[TraceRequest]:
        return [
            TraceRequest.model_validate_json(value)
            for value in self.client.lrange(wire.trace_requests(machine), 0, -1)  # pyright: ignore
        ]

    def lose_queue(self) -> None:
        self.client.delete(wire.trace_requests("m1"))

    def answer(self, key: str, **fields: Any) -> None:
        self.client.rpush(wire.TRACE_ANSWERS, TraceAnswer(key=key, machine="m1", **fields).model_dump_json())

    def backdate(self, key: str, **columns: float) -> None:
        with self.sessions.begin() as session:
            row = session.get(TraceRow, key)
            assert row
            for name, seconds in columns.items():
                setattr(row, name, getattr(row, name) - seconds)


@pytest.fixture
def rounds(settings: ServerSettings, sessions: Sessions) -> Rounds:
    return Rounds(settings, sessions)


def machine(name: str = "m1", tracing: str | None = None, versions: dict[str, str] = VERSIONS) -> MachineReport:
    return MachineReport(
        name=name,
        at=0.0,
        host_total_bytes=1,
        host_available_bytes=1,
        cpu_count=2,
        traces=True,
        tracing=tracing,
        versions=versions,
    )


def trace(peak: int = 3 * GIB) -> Trace:
    ledger = {"weights": peak - GIB, "activations": GIB}
    return Trace(
        peak_bytes=peak,
        peak_phase="backward",
        peak_site="loss_backward",
        ledger=ledger,
        sites={"forward_end": peak - GIB // 2, "loss_backward": peak},
        first_step_peak_bytes=peak,
        replay=Replay(
            expandable_segments=False,
            active_peak_bytes=peak,
            reserved_peak_bytes=peak + GIB,
            smallest_budget_bytes=peak + GIB // 4,
        ),
        timeline=[TracePoint(phase="forward", bytes_by_category=ledger)],
        versions=VERSIONS,
        seconds=1.0,
    )


def test_a_submitted_job_is_traced_and_then_goes_by_the_exact_figures(member: TestClient, rounds: Rounds) -> None:
    job = create(member)
    assert member.get(f"/api/jobs/{job}/trace").json()["state"] == "pending"
    rounds.step(machine())
    (request,) = rounds.queued()
    assert request.config["model_type"] == "llama" and request.versions == VERSIONS
    rounds.answer(request.key, trace=trace())
    rounds.step(machine())
    told = member.get(f"/api/jobs/{job}/trace").json()
    assert told["state"] == "ready" and told["key"] == request.key
    assert Trace.model_validate(told["trace"]) == trace()
    estimate = member.get(f"/api/jobs/{job}").json()["estimate"]
    assert estimate["tier"] == "trace" and estimate["allocated_bytes"] == 3 * GIB
    assert estimate["total_bytes"] == sum(estimate["ledger"].values())
    assert estimate["total_bytes"] - estimate["least_bytes"] == 3 * GIB // 4
    assert estimate["formula"]["allocated_bytes"] == told["comparison"]["formula_bytes"]


def test_formula_and_trace_apart_by_more_than_one_percent_say_so(member: TestClient, rounds: Rounds) -> None:
    formula = member.post("/api/estimates", json={"spec": spec()}).json()["allocated_bytes"]
    job = create(member)
    rounds.step(machine())
    rounds.answer(rounds.queued()[0].key, trace=trace(formula * 100 // 102))
    rounds.step(machine())
    comparison = member.get(f"/api/jobs/{job}/trace").json()["comparison"]
    assert comparison["differs"] and comparison["difference_percent"] == pytest.approx(2, abs=0.01)


def test_settings_that_an_estimate_refuses_are_not_traced_either(member: TestClient, rounds: Rounds) -> None:
    impossible = spec(adaptation={"r": 4096})
    refused = member.post("/api/traces", json=impossible)
    (error,) = refused.json()["errors"]
    (of_estimate,) = member.post("/api/estimates", json={"spec": impossible}).json()["errors"]
    assert (refused.status_code, error["loc"], error["type"]) == (422, "adaptation.r", "rank_too_large")
    assert error == {**of_estimate, "loc": "adaptation.r"}
    assert member.post("/api/traces", json=spec()).status_code == 202


def test_the_same_memory_is_traced_once(member: TestClient, rounds: Rounds) -> None:
    create(member)
    rounds.step(machine())
    key = rounds.queued()[0].key
    twin = create(member, name="other", optimizer={"learning_rate": 1e-3}, placement={"priority": 5})
    other = create(member, adaptation={"r": 16})
    rounds.step(machine())
    assert [request.key == key for request in rounds.queued()] == [True, False]
    rounds.answer(key, trace=trace())
    rounds.step(machine())
    assert member.get(f"/api/jobs/{twin}/trace").json()["state"] == "ready"
    assert member.get(f"/api/jobs/{other}/trace").json()["state"] == "pending"
    late = create(member, name="third")
    rounds.step(machine())
    assert member.get(f"/api/jobs/{late}").json()["estimate"]["tier"] == "trace"
    assert len(rounds.queued()) == 2


def test_other_library_versions_are_traced_anew(member: TestClient, rounds: Rounds) -> None:
    create(member)
    rounds.step(machine())
    create(member)
    rounds.step(machine(versions={"torch": "2.14.0"}))
    assert len({request.key for request in rounds.queued()}) == 2


def test_a_spec_can_be_verified_before_it_is_submitted(member: TestClient, rounds: Rounds) -> None:
    asked = member.post("/api/traces", json=spec())
    assert asked.status_code == 202 and asked.json()["state"] == "pending"
    assert "No worker" in asked.json()["reason"]
    key = asked.json()["key"]
    assert member.post("/api/traces", json=spec(name="again")).json()["key"] == key
    rounds.step(machine())
    assert [request.key for request in rounds.queued()] == [key]
    rounds.answer(key, trace=trace())
    rounds.step(machine())
    assert member.get(f"/api/traces/{key}").json()["state"] == "ready"
    assert member.post("/api/traces", json=spec()).status_code == 200
    assert member.get("/api/traces/unheard-of").status_code == 404


def test_a_failure_is_told_in_words_and_may_be_asked_again_later(member: TestClient, rounds: Rounds) -> None:
    job = create(member)
    rounds.step(machine())
    key = rounds.queued()[0].key
    rounds.answer(key, reason="not traceable: it needed more than 4.0 GiB of main memory")
    rounds.step(machine())
    told = member.get(f"/api/jobs/{job}/trace").json()
    assert told["state"] == "failed" and "main memory" in told["reason"]
    assert member.get(f"/api/jobs/{job}").json()["estimate"]["tier"] == "formula"
    rounds.backdate(key, answered_at=120.0)
    create(member, name="another")
    rounds.step(machine())
    assert member.get(f"/api/jobs/{job}/trace").json()["state"] == "pending"


def test_a_job_of_an_unknown_model_says_why_it_has_no_trace(member: TestClient, rounds: Rounds) -> None:
    job = create(member, model={"id": "someone/unheard-of", "source": "huggingface"})
    rounds.step(machine())
    told = member.get(f"/api/jobs/{job}/trace").json()
    assert told["state"] == "failed" and "unheard-of" in told["reason"]
    assert member.post("/api/traces", json=spec(model={"id": "someone/unheard-of"})).status_code == 422


def test_a_lost_request_is_sent_again_and_given_up_after_three(member: TestClient, rounds: Rounds) -> None:
    job = create(member)
    for _ in range(controller.TRIES):
        rounds.step(machine())
        (request,) = rounds.queued()
        rounds.step(machine())
        assert len(rounds.queued()) == 1, "what was just sent is not sent again"
        rounds.backdate(request.key, sent_at=controller.RESEND_SECONDS + 1)
        rounds.step(machine())
        assert len(rounds.queued()) == 1, "what waits in the queue is not sent again"
        rounds.lose_queue()
        rounds.step(machine(tracing=request.key))
        assert not rounds.queued(), "what is under way is not sent again"
    rounds.step(machine())
    told = member.get(f"/api/jobs/{job}/trace").json()
    assert told["state"] == "failed" and "did not answer" in told["reason"]


def test_without_a_worker_it_stays_pending_and_goes_to_another_when_one_is_lost(
    member: TestClient, rounds: Rounds
) -> None:
    job = create(member)
    rounds.step()
    rounds.step(machine())
    assert rounds.queued()
    rounds.step()
    assert "No worker" in member.get(f"/api/jobs/{job}/trace").json()["reason"]
    rounds.step(machine("m2"))
    assert rounds.queued("m2")


def test_nobody_waits_for_the_trace_of_an_ended_job_for_ever(member: TestClient, rounds: Rounds) -> None:
    job = create(member)
    rounds.step(machine())
    key = rounds.queued()[0].key
    rounds.backdate(key, asked_at=controller.ABANDONED_SECONDS + 1)
    rounds.step(machine())
    assert member.get(f"/api/jobs/{job}/trace").json()["state"] == "pending"
    with rounds.sessions.begin() as session:
        assert move(session, job, JobState.CANCELLED)
    rounds.step(machine())
    assert member.get(f"/api/jobs/{job}/trace").json()["state"] == "failed"


def test_doubled_late_and_broken_answers_change_nothing(member: TestClient, rounds: Rounds) -> None:
    job = create(member)
    rounds.step(machine())
    key = rounds.queued()[0].key
    rounds.client.rpush(wire.TRACE_ANSWERS, "not json", json.dumps({"key": 1}))
    rounds.answer("0" * 64, trace=trace())
    rounds.answer(key, trace=trace())
    rounds.answer(key, reason="came late")
    rounds.answer(key, trace=trace(5 * GIB))
    rounds.step(machine())
    told = member.get(f"/api/jobs/{job}/trace").json()
    assert told["state"] == "ready" and told["trace"]["peak_bytes"] == 3 * GIB
    assert rounds.client.llen(wire.TRACE_ANSWERS) == 0


def test_a_job_waits_for_what_it_needs_at_the_least(member: TestClient, rounds: Rounds) -> None:
    from backend.controller.dispatch import waiting_job

    job = create(member, placement={"gpu_memory_margin": 0})
    rounds.step(machine())
    rounds.answer(rounds.queued()[0].key, trace=trace())
    rounds.step(machine())
    with rounds.sessions() as session:
        row = session.get(JobRow, job)
        assert row and row.estimate
        assert waiting_job(row, None).need_bytes == row.estimate["least_bytes"]


def test_the_sdk_waits_for_a_trace(member: TestClient, rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("http://server")
    client._http = member  # pyright: ignore[reportPrivateUsage]

    def worker_answers(_seconds: float) -> None:
        rounds.step(machine())
        rounds.answer(rounds.queued()[0].key, trace=trace())
        rounds.step(machine())

    monkeypatch.setattr("tunescope.client.time.sleep", worker_answers)
    assert client.trace(parse_spec(spec()))["trace"]["peak_bytes"] == 3 * GIB
    assert client.job_trace(create(member))["state"] == "pending"


def test_a_row_that_cannot_be_read_fails_and_keeps_no_other_from_being_sent(member: TestClient, rounds: Rounds) -> None:
    poisoned = member.post("/api/traces", json=spec()).json()["key"]
    good = member.post("/api/traces", json=spec(adaptation={"r": 4})).json()["key"]
    with rounds.sessions.begin() as session:
        row = session.get(TraceRow, poisoned)
        assert row
        row.spec = {**row.spec, "data": {**row.spec["data"], "max_length": 1}}
    rounds.step(machine())
    assert [request.key for request in rounds.queued()] == [good]
    status = member.get(f"/api/traces/{poisoned}").json()
    assert status["state"] == "failed" and "cannot read the spec" in status["reason"]
