"""Measured memory over HTTP, on both databases: beside the prediction, over time, asked for, and for all jobs."""

from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.estimates.devices import device_of_estimate
from backend.jobs.reservation import reservation
from backend.jobs.tables import JobRow
from backend.jobs.transitions import move
from backend.measured.probed import with_probe, with_trace
from tests.api.make import assign, spec, state
from tests.api.test_jobs import tell
from tests.api.test_traces import trace
from tunescope import wire
from tunescope.events import (
    AnatomyEvent,
    AnatomyPoint,
    Failure,
    LedgerEvent,
    MemoryFigure,
    PlanEvent,
    StateEvent,
    WarningEvent,
)
from tunescope.settings import ServerSettings
from tunescope.states import JobState
from tunescope.units import MIB
from tunescope.wire import Control
from worker.death import explain_death

Sessions = sessionmaker[Session]
PERSISTENT = {"weights": 1000, "quantization_state": 10, "adapters": 50, "optimizer_states": 100}


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


def key(job: str, sequence: int) -> dict[str, Any]:
    return {"job": job, "attempt": 1, "sequence": sequence, "at": 1000.0 + sequence}


def ledger(job: str, sequence: int, step: int, source: str = "cpu tensors", **categories: int) -> LedgerEvent:
    account = {**PERSISTENT, "activations": 400, **categories}
    holes = {"fragmentation": 70, "runtime_context": 500} if source.startswith("cuda") else {}
    return LedgerEvent(
        **key(job, sequence),
        step=step,
        source=source,
        peak_phase="loss",
        peak_site="forward_end",
        categories=account,
        total_bytes=sum(account.values()),
        outside=[MemoryFigure(source=name, bytes=count) for name, count in holes.items()]
        or [MemoryFigure(source="fragmentation", unknown_because="no CUDA")],
    )


def plan(job: str, sequence: int, device: str) -> PlanEvent:
    counts = {"total_steps": 9, "train_rows": 9, "trainable_parameters": 1, "all_parameters": 2}
    return PlanEvent(**key(job, sequence), device=device, **counts)


def running(client: TestClient, sessions: Sessions, device: str = "CPU") -> str:
    job = client.post("/api/jobs", json=spec()).json()["id"]
    assign(sessions, job)
    tell(sessions, job, [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING), plan(job, 3, device)])
    return job


def measured(
    client: TestClient, sessions: Sessions, device: str = "CPU", source: str = "cpu tensors", **categories: int
) -> str:
    """A job that has ended, with ledgers of three steps."""
    job = running(client, sessions, device)
    told = [ledger(job, 3 + step, step, source, activations=400 + step, **categories) for step in (1, 2, 3)]
    tell(sessions, job, [*told, state(job, 7, JobState.SUCCEEDED)])
    return job


def test_each_measured_step_stands_beside_the_prediction(member: TestClient, sessions: Sessions) -> None:
    body = member.get(f"/api/jobs/{measured(member, sessions)}/ledgers").json()
    assert body["predicted"]["total_bytes"] == sum(body["predicted"]["ledger"].values())
    assert [item["step"] for item in body["items"]] == [1, 2, 3] and body["probe"] is None
    rows = {row["category"]: row for row in body["items"][1]["comparison"]}
    weights = rows["weights"]
    assert weights["measured_bytes"] == 1000 and weights["incomparable_because"] is None
    assert weights["error_bytes"] == weights["predicted_bytes"] - 1000
    assert weights["error_percent"] == pytest.approx(weights["error_bytes"] / 10)
    assert "CPU" in rows["activations"]["incomparable_because"] and rows["activations"]["error_bytes"] is None
    assert (
        rows["fragmentation"]["incomparable_because"] == "no CUDA" and rows["fragmentation"]["measured_bytes"] is None
    )
    assert rows["optimizer_states"]["incomparable_because"] is None
    first = {row["category"]: row for row in body["items"][0]["comparison"]}
    assert "first step" in first["optimizer_states"]["incomparable_because"]
    total = sum(row["measured_bytes"] for row in rows.values() if row["incomparable_because"] is None)
    assert body["items"][1]["comparable_measured_bytes"] == total


def test_on_a_gpu_everything_is_compared(member: TestClient, sessions: Sessions) -> None:
    job = measured(member, sessions, "NVIDIA H100", "cuda tensors")
    rows = member.get(f"/api/jobs/{job}/ledgers").json()["items"][2]["comparison"]
    told = {row["category"]: row for row in rows}
    assert told["runtime_context"]["measured_bytes"] == 500 and told["fragmentation"]["measured_bytes"] == 70
    assert all(row["error_bytes"] is not None for name, row in told.items() if name != "gradients")


def test_a_cpu_that_computes_in_another_type_is_not_held_against_the_estimate(
    member: TestClient, sessions: Sessions
) -> None:
    job = running(member, sessions)
    tell(sessions, job, [ledger(job, 4, 2).model_copy(update={"dtype": "float32"})])
    rows = {row["category"]: row for row in member.get(f"/api/jobs/{job}/ledgers").json()["items"][0]["comparison"]}
    assert rows["weights"]["incomparable_because"] == "this run computed in float32, the estimate is for bfloat16"
    assert rows["weights"]["error_bytes"] is None
    assert rows["adapters"]["error_bytes"] is not None, "adapters are float32 in both"


def test_a_job_without_measurements_says_so(member: TestClient, sessions: Sessions) -> None:
    job = running(member, sessions)
    assert member.get(f"/api/jobs/{job}/ledgers").json()["items"] == []
    answer = member.get(f"/api/jobs/{job}/anatomy")
    assert answer.status_code == 404 and "No step" in answer.json()["detail"]
    assert member.get(f"/api/jobs/{job}/warnings").json() == {"items": []}
    assert member.get("/api/jobs/nothing/ledgers").status_code == 404


def test_anatomy_of_a_step_and_of_the_newest(member: TestClient, sessions: Sessions) -> None:
    job = running(member, sessions)
    point = AnatomyPoint(seconds=0.5, phase="forward", bytes_by_category={"weights": 7})
    tell(sessions, job, [AnatomyEvent(**key(job, 3 + step), step=step, points=[point]) for step in (1, 2)])
    newest, first = (member.get(f"/api/jobs/{job}/anatomy{query}").json() for query in ("", "?step=1"))
    assert (newest["step"], first["step"]) == (2, 1) and newest["steps"] == [1, 2]
    assert first["points"] == [{"seconds": 0.5, "phase": "forward", "bytes_by_category": {"weights": 7}}]
    missing = member.get(f"/api/jobs/{job}/anatomy?step=9")
    assert missing.status_code == 404 and "1, 2" in missing.json()["fix"]


def test_anatomy_of_a_step_that_two_attempts_measured(member: TestClient, sessions: Sessions) -> None:
    job = running(member, sessions)
    points = [AnatomyPoint(seconds=attempt, phase="forward", bytes_by_category={}) for attempt in (1, 2)]
    told = [AnatomyEvent(**key(job, 3 + step), step=step, points=[points[0]]) for step in (1, 50)]
    again = key(job, 1) | {"attempt": 2}
    tell(sessions, job, [*told, AnatomyEvent(**again, step=1, points=[points[1]])])

    def seconds(query: str) -> float:
        return member.get(f"/api/jobs/{job}/anatomy{query}").json()["points"][0]["seconds"]

    assert [seconds("?step=1&attempt=1"), seconds("?step=1&attempt=2"), seconds("?step=1")] == [1, 2, 2]
    assert seconds("") == 2, "the newest, though an earlier attempt came further"
    assert member.get(f"/api/jobs/{job}/anatomy?step=50&attempt=2").status_code == 404


def test_small_tensors_are_not_held_against_the_estimate_where_nothing_rounds_them_up(
    member: TestClient, sessions: Sessions
) -> None:
    """On a CPU: the constants of a 4-bit model are a sixth larger on a GPU by rounding alone."""
    by_place: dict[str, Any] = {}
    for source in ("cpu tensors", "cuda tensors"):
        rows = member.get(f"/api/jobs/{measured(member, sessions, source=source)}/ledgers").json()["items"][1][
            "comparison"
        ]
        by_place[source] = next(row for row in rows if row["category"] == "quantization_state")
    assert "512 bytes" in by_place["cpu tensors"]["incomparable_because"]
    assert by_place["cpu tensors"]["error_bytes"] is None and by_place["cpu tensors"]["measured_bytes"] == 10
    assert by_place["cuda tensors"]["error_bytes"] is not None


def test_warnings_come_newest_first(member: TestClient, sessions: Sessions) -> None:
    job = running(member, sessions)
    told = [
        WarningEvent(**key(job, 3 + step), code="rising", step=step, message=f"at {step}", figures={"free": 1.0})
        for step in (1, 2)
    ]
    tell(sessions, job, told)
    items = member.get(f"/api/jobs/{job}/warnings").json()["items"]
    assert [(item["step"], item["message"], item["figures"]) for item in items] == [
        (2, "at 2", {"free": 1.0}),
        (1, "at 1", {"free": 1.0}),
    ]


def test_the_owner_asks_the_worker_to_measure(
    member: TestClient, admin: TestClient, sessions: Sessions, settings: ServerSettings
) -> None:
    job = running(member, sessions)
    with redis.Redis.from_url(settings.redis_url) as connection, connection.pubsub() as channel:
        channel.subscribe(wire.control("m1"))
        assert channel.get_message(timeout=5)
        answer = member.post(f"/api/jobs/{job}/measure")
        assert answer.status_code == 202 and answer.json() == {"action": "measure", "after_step": 0}
        message = channel.get_message(timeout=5)
    assert message and Control.model_validate_json(message["data"]) == Control(job=job, attempt=1, action="measure")
    refused = member.post(f"/api/jobs/{job}/snapshot")
    assert refused.status_code == 409 and "CPU" in refused.json()["detail"]
    ended = measured(member, sessions)
    assert member.post(f"/api/jobs/{ended}/measure").status_code == 409
    foreign = running(admin, sessions)
    assert member.post(f"/api/jobs/{foreign}/measure").status_code == 403


def test_every_measured_job_becomes_a_row(member: TestClient, sessions: Sessions) -> None:
    jobs = [measured(member, sessions) for _ in range(3)]
    page = member.get("/api/accuracy?limit=2").json()
    rest = member.get("/api/accuracy", params={"cursor": page["next_cursor"]}).json()
    assert {item["job"] for item in [*page["items"], *rest["items"]]} == set(jobs) and len(rest["items"]) == 1
    row = page["items"][0]
    assert (row["device"], row["on_gpu"], row["step"]) == ("CPU", False, 3), "the highest step after the first"
    assert row["summary"]["quantization"] == "nf4"
    assert row["measured_bytes"] == sum(PERSISTENT.values()) - PERSISTENT["quantization_state"], "not rounded on a CPU"
    assert page["calibrations"] == [] and "CPU" in page["note"]
    for cursor in ("x", "nan~a", ""):
        refused = member.get("/api/accuracy", params={"cursor": cursor})
        assert refused.status_code == (422 if cursor else 200)
    member.delete(f"/api/jobs/{jobs[0]}")
    assert len(member.get("/api/accuracy").json()["items"]) == 2


def test_five_runs_of_a_gpu_calibrate_it(member: TestClient, sessions: Sessions) -> None:
    for _ in range(4):
        measured(member, sessions, "NVIDIA H100", "cuda tensors")
    assert member.get("/api/accuracy").json()["calibrations"] == []
    measured(member, sessions, "NVIDIA H100", "cuda tensors")
    (found,) = member.get("/api/accuracy").json()["calibrations"]
    assert (found["device"], found["runs"], found["context_bytes"]) == ("NVIDIA H100", 5, 500)
    calibrated, other = (
        member.post("/api/estimates", json={"spec": spec(), "gpu": gpu}).json() for gpu in ("H100-80GB", "A100-80GB")
    )
    assert calibrated["ledger"]["runtime_context"] == 500 and calibrated["calibration"]["runs"] == 5
    assert other["ledger"]["runtime_context"] > 500 and other["calibration"] is None
    assert calibrated["ledger"]["weights"] == other["ledger"]["weights"], "tensors are never fudged"


def test_runs_on_several_gpus_do_not_calibrate_the_context_of_one(member: TestClient, sessions: Sessions) -> None:
    """NCCL's buffers, predicted as communication, are a part of what NVML tells beside torch."""
    jobs = [measured(member, sessions, "NVIDIA H100", "cuda tensors", communication=50) for _ in range(5)]
    assert member.get("/api/accuracy").json()["calibrations"] == []
    rows = member.get(f"/api/jobs/{jobs[0]}/ledgers").json()["items"][2]["comparison"]
    told = {row["category"]: row["incomparable_because"] for row in rows}
    assert "NCCL" in told["communication"] and "NCCL" in told["runtime_context"] and told["weights"] is None


def failed(client: TestClient, sessions: Sessions, memory: dict[str, Any] | None, **sections: Any) -> str:
    job = client.post("/api/jobs", json=spec(**sections)).json()["id"]
    assign(sessions, job)
    failure = Failure.model_validate(
        {"reason": "out_of_memory", "detail": "no memory", "advice": "less", "memory": memory}
    )
    end = StateEvent(**key(job, 3), state=JobState.FAILED, failure=failure)
    tell(sessions, job, [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING), end])
    return job


LARGE = {"batch": {"per_device_train_batch_size": 8}, "memory_savers": {"gradient_checkpointing": False}}


def test_out_of_memory_comes_with_changes_for_that_device_and_one_call_relaunches(
    member: TestClient, sessions: Sessions
) -> None:
    needed = member.post("/api/jobs", json=spec(**LARGE)).json()["estimate"]["total_bytes"]
    held = {
        "device": "NVIDIA T4",
        "device_bytes": needed * 8 // 10,
        "step": 9,
        "phase": "loss",
        "categories": {"weights": 7},
    }
    job = failed(member, sessions, held, **LARGE)
    failure = member.get(f"/api/jobs/{job}").json()["failure"]
    assert failure["memory"]["step"] == 9 and failure["memory"]["categories"] == {"weights": 7}
    change = failure["suggestions"][0]
    assert change["fits"] is True and change["bytes_saved"] > 0 and change["patch"]
    chinese = member.get(f"/api/jobs/{job}?language=zh").json()["failure"]["suggestions"][0]
    assert chinese["id"] == change["id"] and chinese["title"] != change["title"]
    again = member.post(f"/api/jobs/{job}/clone", json={"patch": change["patch"]})
    assert again.status_code == 201
    path, value = next(iter(change["patch"].items()))
    section, field = path.split(".")
    assert again.json()["spec"][section][field] == value
    for wrong in ({"max_length": 1}, {"data.no_such": 1}, {"a.b.c": 1}, {"name.x": 1}):
        assert member.post(f"/api/jobs/{job}/clone", json={"patch": wrong}).status_code == 422


def test_on_the_cpu_nothing_is_said_to_fit(member: TestClient, sessions: Sessions) -> None:
    job = failed(member, sessions, {"device": "CPU", "device_bytes": 2**34}, **LARGE)
    suggestions = member.get(f"/api/jobs/{job}").json()["failure"]["suggestions"]
    assert suggestions and all(item["fits"] is None for item in suggestions)
    listed = member.get("/api/jobs").json()["items"][0]["failure"]
    assert listed["reason"] == "out_of_memory" and listed["suggestions"] == []


@pytest.mark.parametrize(("signal", "on", "offered"), [(9, [], True), (15, [], False), (9, ["GPU-0"], False)])
def test_one_that_was_killed_on_the_cpu_most_likely_for_memory_comes_with_changes(
    member: TestClient, sessions: Sessions, signal: int, on: list[str], offered: bool
) -> None:
    """Also while it loaded its model, of which nothing was measured."""
    job = member.post("/api/jobs", json=spec(**LARGE)).json()["id"]
    with sessions.begin() as session:
        assert move(session, job, JobState.ASSIGNED, machine="m1", gpus=on)
    tell(sessions, job, [state(job, 1, JobState.STARTING)])
    failure = explain_death(-signal, None, None, [], None, "loading the model")
    tell(sessions, job, [StateEvent(**key(job, 2), state=JobState.FAILED, failure=failure)])
    told = member.get(f"/api/jobs/{job}").json()["failure"]
    assert told["reason"] == "trainer_killed" and bool(told["suggestions"]) is offered


@pytest.mark.parametrize("source", ["cpu tensors", "cuda tensors"])
def test_a_probe_on_a_gpu_replaces_the_estimate_and_keeps_it_beside(
    member: TestClient, sessions: Sessions, source: str
) -> None:
    job = running(member, sessions, "NVIDIA H100")
    with sessions.begin() as session:
        row = session.get_one(JobRow, job)
        row.estimate = {**(row.estimate or {}), "settled_bytes": 1, "when_full": {"kind": "cache_fills_card"}}
    before = member.get(f"/api/jobs/{job}").json()["estimate"]
    tell(sessions, job, [ledger(job, 4, 2, source).model_copy(update={"probe": True})])
    after = member.get(f"/api/jobs/{job}").json()["estimate"]
    told = member.get(f"/api/jobs/{job}/ledgers").json()
    assert told["probe"]["step"] == 2 and told["items"] == []
    assert told["predicted"]["total_bytes"] == before["total_bytes"], "errors are the formula's"
    if source == "cpu tensors":
        assert after == before
        return
    assert after["tier"] == "probe" and after["formula"] == before
    assert "when_full" not in after and "settled_bytes" not in after, "it was measured: nothing is left to reckon"
    assert after["total_bytes"] == sum(after["ledger"].values()) == sum(PERSISTENT.values()) + 400 + 570


def test_a_probe_in_a_container_keeps_the_predicted_context(member: TestClient, sessions: Sessions) -> None:
    """The driver tells no processes there: without the context the job would be placed where it does not fit."""
    job = running(member, sessions, "NVIDIA H100")
    before = member.get(f"/api/jobs/{job}").json()["estimate"]
    hidden = [
        MemoryFigure(source="fragmentation", bytes=70),
        MemoryFigure(source="runtime_context", unknown_because="x"),
    ]
    tell(sessions, job, [probe_of(job, 4).model_copy(update={"outside": hidden})])
    after = member.get(f"/api/jobs/{job}").json()["estimate"]
    context = before["ledger"]["runtime_context"]
    assert after["ledger"]["runtime_context"] == context > 0
    assert after["total_bytes"] == sum(after["ledger"].values()) == sum(PERSISTENT.values()) + 400 + 70 + context
    assert [note["kind"] for note in after["assumption_sentences"]] == ["probe_context_predicted"]
    unestimated = with_probe(None, probe_of(job, 4).model_copy(update={"outside": hidden}))
    assert unestimated and unestimated["ledger"]["runtime_context"] == 1205 * MIB


def probe_of(job: str, sequence: int, attempt: int = 1, **categories: int) -> LedgerEvent:
    told = ledger(job, sequence, 2, "cuda tensors", **categories)
    return told.model_copy(update={"probe": True, "attempt": attempt})


def kept_of(sessions: Sessions, job: str) -> JobRow:
    with sessions() as session:
        row = session.get(JobRow, job)
        assert row
        return row


def test_a_trace_and_a_probe_are_kept_apart_whichever_comes_first(member: TestClient, sessions: Sessions) -> None:
    """The job is placed by what was measured; the trace of its own spec is what the measurement is compared with."""
    told: list[dict[str, Any]] = []
    for probed_first in (True, False):
        job = running(member, sessions, "NVIDIA H100")

        def hear_trace(job: str = job) -> None:
            with sessions.begin() as session:
                row = session.get(JobRow, job)
                assert row and row.estimate
                row.estimate = with_trace(row.estimate, trace(), device_of_estimate(session, row.estimate))

        if not probed_first:
            hear_trace()
        tell(sessions, job, [probe_of(job, 4)])
        if probed_first:
            hear_trace()
        row = kept_of(sessions, job)
        assert row.estimate
        told.append(row.estimate)
        total = sum(PERSISTENT.values()) + 400 + 570
        assert row.estimate["tier"] == "probe" and row.estimate["total_bytes"] == total
        assert row.estimate["formula"]["tier"] == "trace"
        assert row.estimate["formula"]["allocated_bytes"] == trace().peak_bytes
        assert reservation(row) == int(total * 1.05), "what the trace says is no longer what placement goes by"
        assert row.estimate["fit"] == "yes" and row.estimate["fits"] is True
    assert told[0] == told[1]


def test_the_probe_of_a_later_attempt_replaces_that_of_another_gpu(member: TestClient, sessions: Sessions) -> None:
    job = running(member, sessions, "NVIDIA H100")
    tell(sessions, job, [probe_of(job, 4, activations=9000), probe_of(job, 5, activations=400)])
    before = member.get(f"/api/jobs/{job}").json()["estimate"]
    assert before["ledger"]["activations"] == 9000, "the highest of one probe's steps"
    with sessions.begin() as session:
        row = session.get(JobRow, job)
        assert row
        row.estimate = with_probe(row.estimate, probe_of(job, 4, attempt=2, activations=500))
    after = member.get(f"/api/jobs/{job}").json()["estimate"]
    assert after["ledger"]["activations"] == 500 and after["formula"] == before["formula"]
