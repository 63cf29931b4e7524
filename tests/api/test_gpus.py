"""``GET /api/gpus`` and ``GET /metrics``: what workers report, with the jobs that the server has there."""

import json
import time
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.orm import Session, sessionmaker

from backend.jobs.following import apply_events, follow
from backend.jobs.transitions import move
from backend.telemetry.lag import between, recorder_lag
from backend.telemetry.told import as_told
from tests.api.make import spec, state, step
from tunescope import wire
from tunescope.events import MemoryFigure
from tunescope.states import JobState
from tunescope.units import GIB
from tunescope.wire import GpuProcess, GpuReport, GpuXid, MachineReport


def report(job: str | None = None) -> MachineReport:
    whole = GpuReport(
        uuid="GPU-0",
        index=0,
        name="A GPU",
        total_bytes=24 * GIB,
        used_bytes=10 * GIB,
        free_bytes=14 * GIB,
        reserved_bytes=GIB,
        utilization_percent=87,
        temperature_celsius=71,
        power_watts=250.5,
        throttling=["power_limit"],
        xids=[GpuXid(code=48, at=time.time(), meaning="double bit memory error (ECC)")],
        processes=[GpuProcess(pid=7, name="python", user="mei", used_bytes=8 * GIB, job=job)],
    )
    lost = GpuReport(uuid="GPU-1", index=1, name='A "GPU"', unusable_because="lost", unknown={"memory": "lost"})
    return MachineReport(
        name="m1",
        at=time.time(),
        gpus=[whole, lost],
        host_total_bytes=64 * GIB,
        host_available_bytes=32 * GIB,
        cpu_count=8,
        running=[job] if job else [],
        versions={"torch": "2.13.0"},
    )


def publish(connection: redis.Redis, told: MachineReport) -> None:
    connection.set(wire.machine(told.name), told.model_dump_json(), ex=wire.MACHINE_SECONDS)


def running_job(admin: TestClient, sessions: sessionmaker[Session]) -> str:
    job = str(admin.post("/api/jobs", json=spec()).json()["id"])
    with sessions.begin() as session:
        assert move(session, job, JobState.ASSIGNED, machine="m1", gpus=["GPU-0"])
    figure = MemoryFigure(source="nvml.process", bytes=7 * GIB, peak_bytes=8 * GIB)
    events: list[Any] = [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING), step(job, 3, 1)]
    events[2].memory.append(figure)
    with sessions.begin() as session:
        apply_events(session, job, as_told(events))
    return job


def test_machines_tell_their_gpus_and_jobs(admin: TestClient, sessions: sessionmaker[Session], redis_url: str) -> None:
    job = running_job(admin, sessions)
    with redis.Redis.from_url(redis_url) as connection:
        publish(connection, report(job))
    (machine,) = admin.get("/api/gpus").json()["machines"]
    whole, lost = machine["gpus"]
    assert (whole["used_bytes"], whole["reserved_bytes"], whole["free_bytes"]) == (10 * GIB, GIB, 14 * GIB)
    assert whole["throttling"] == ["power_limit"] and whole["xids"][0]["code"] == 48
    assert whole["processes"][0]["user"] == "mei" and whole["processes"][0]["job"] == job
    assert lost["unusable_because"] == "lost" and lost["total_bytes"] is None
    (told,) = machine["jobs"]
    assert (told["id"], told["name"], told["owner"], told["gpus"]) == (job, "first run", "admin", ["GPU-0"])
    assert told["peak_bytes"] == 8 * GIB and told["reserved_bytes"] == int(8 * GIB * 1.05)
    assert (told["step"], told["total_steps"]) == (1, 1000)


def test_a_machine_that_cannot_be_read_hides_no_other(
    admin: TestClient, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    sentence = {"kind": "of_a_newer_release", "text": "lost, and more", "values": {"new": None, "more": [[1]]}}
    newer = report().model_dump(mode="json")
    newer["gpus"][1] |= {"unusable_because": "lost, and more", "unusable_sentence": sentence}
    with redis.Redis.from_url(redis_url) as connection:
        connection.set(wire.machine("m1"), json.dumps(newer))
        connection.set(wire.machine("m2"), '{"name": "m2", "at": "yesterday"}')
    for _ in range(2):
        (machine,) = admin.get("/api/gpus").json()["machines"]
        told = machine["gpus"][1]["unusable_sentence"]
        assert (told["kind"], told["text"], told["values"]) == ("of_a_newer_release", "lost, and more", {})
    (line,) = [record.getMessage() for record in caplog.records if "m2" in record.getMessage()]
    assert "is left out" in line and "at, " in line


def test_no_worker_is_an_empty_list(admin: TestClient) -> None:
    assert admin.get("/api/gpus").json() == {"machines": []}


def samples(admin: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = admin.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (item.name, tuple(sorted(item.labels.items()))): item.value for family in families for item in family.samples
    }


def test_prometheus_metrics(admin: TestClient, sessions: sessionmaker[Session], redis_url: str) -> None:
    job = running_job(admin, sessions)
    with redis.Redis.from_url(redis_url) as connection:
        publish(connection, report(job))
        for sequence in range(1, 6):
            connection.xadd(wire.events(job), {wire.EVENT_FIELD: "{}"}, id=f"1-{sequence}")
        connection.sadd(wire.EVENT_STREAMS, wire.events(job))
    told = samples(admin)
    first = (("gpu", "GPU-0"), ("index", "0"), ("machine", "m1"), ("name", "A GPU"))
    second = (("gpu", "GPU-1"), ("index", "1"), ("machine", "m1"), ("name", 'A "GPU"'))
    assert told["tunescope_gpu_memory_used_bytes", first] == 10 * GIB
    assert told["tunescope_gpu_memory_free_bytes", first] == 14 * GIB
    assert told["tunescope_gpu_utilization_ratio", first] == 0.87
    assert told["tunescope_gpu_usable", first] == 1 and told["tunescope_gpu_usable", second] == 0
    assert ("tunescope_gpu_memory_used_bytes", second) not in told, "unknown is no sample, not 0"
    assert told["tunescope_jobs", (("state", "running"),)] == 1
    assert told["tunescope_jobs", (("state", "failed"),)] == 0
    assert told["tunescope_recorder_lag_events", ()] == 5


def test_lag_is_what_is_read_and_not_acknowledged_plus_what_is_not_read(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as connection:
        connection.flushall()
        key = wire.events("j")
        for sequence in range(1, 11):
            connection.xadd(key, {wire.EVENT_FIELD: "{}"}, id=f"2-{sequence}")
        connection.sadd(wire.EVENT_STREAMS, key, wire.events("gone"))
        connection.xgroup_create(key, wire.RECORDERS, id="0")
        connection.xreadgroup(wire.RECORDERS, "recorder", {key: ">"}, count=4)
        connection.xack(key, wire.RECORDERS, "2-1", "2-2")
        assert recorder_lag(connection) == 8
    assert between("1-7", "2-3") == 3


def test_steps_of_many_jobs_are_followed_in_one_batch(admin: TestClient, sessions: sessionmaker[Session]) -> None:
    jobs = [running_job(admin, sessions) for _ in range(3)]
    with sessions.begin() as session:
        follow(session, {job: as_told([step(job, 4, 2), step(job, 5, 3)]) for job in jobs})
    assert [admin.get(f"/api/jobs/{job}").json()["progress"]["step"] for job in jobs] == [3, 3, 3]
