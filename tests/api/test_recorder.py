"""The recorder writes each event once, whatever is delivered again and wherever it dies, and jobs follow."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from backend.controller.recorder import Recorder
from backend.database import move_log
from backend.jobs.tables import JobRow
from backend.jobs.transitions import requeue
from tests.api.make import assign, line, spec, state, step
from tunescope import wire
from tunescope.events import EvaluationEvent, JobEvent, MemoryFigure, PhaseMemory
from tunescope.settings import ServerSettings
from tunescope.states import JobState

Sessions = sessionmaker[Session]


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


@pytest.fixture
def stream(settings: ServerSettings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url) as connection:
        yield connection


@pytest.fixture
def jobs(member: TestClient, sessions: Sessions) -> list[str]:
    """Three jobs on a machine."""
    made = [member.post("/api/jobs", json=spec()).json()["id"] for _ in range(3)]
    for job in made:
        assign(sessions, job)
    return made


def send(stream: redis.Redis, *events: JobEvent) -> None:
    """What the worker's relay does."""
    for event in events:
        fields: Any = {wire.EVENT_FIELD: event.model_dump_json()}
        stream.xadd(wire.events(event.job), fields, id=f"{event.attempt}-{event.sequence}")
        stream.sadd(wire.EVENT_STREAMS, wire.events(event.job))


def begin(job: str) -> list[JobEvent]:
    return [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING)]


def steps(job: str, first: int, last: int) -> list[JobEvent]:
    return [step(job, 2 + number, number) for number in range(first, last + 1)]


def recorded(sessions: Sessions, job: str) -> list[int]:
    with sessions() as session:
        rows = session.execute(text("SELECT sequence FROM events WHERE job = :job ORDER BY sequence"), {"job": job})
        found = [row[0] for row in rows]
        told = session.execute(text("SELECT step FROM steps WHERE job = :job ORDER BY step"), {"job": job})
        assert [row[0] for row in told] == list(range(1, len(found) - 1))
    return found


def test_steps_of_many_jobs_in_one_batch(
    member: TestClient, sessions: Sessions, stream: redis.Redis, jobs: list[str]
) -> None:
    recorder = Recorder(stream, sessions)
    send(stream, *(event for job in jobs for event in begin(job)))
    assert recorder.step() == 6
    send(stream, *(event for number, job in enumerate(jobs, start=1) for event in steps(job, 1, 10 * number)))
    assert recorder.step() == 60
    for number, job in enumerate(jobs, start=1):
        body = member.get(f"/api/jobs/{job}").json()
        assert (body["state"], body["progress"]["step"], body["stage"]) == ("running", 10 * number, None)
        assert body["latest"]["loss"] == 2.0 and body["latest"]["memory"][0]["bytes"] == 1_000_000 + 10 * number
        assert recorded(sessions, job) == list(range(1, 10 * number + 3))


def test_the_highest_memory_of_a_run_is_kept_over_steps_evaluations_and_attempts(
    member: TestClient, sessions: Sessions, stream: redis.Redis, jobs: list[str]
) -> None:
    recorder, job = Recorder(stream, sessions), jobs[0]
    send(stream, *begin(job), *steps(job, 1, 3))
    recorder.step()
    low = step(job, 6, 4)
    low.memory = [MemoryFigure(source="host.rss", bytes=1, peak_bytes=2), MemoryFigure(source="new", peak_bytes=7)]
    send(stream, low)
    recorder.step()
    assert member.get(f"/api/jobs/{job}").json()["peaks"] == {"host.rss": 2_000_003, "new": 7}
    told = PhaseMemory(phase="evaluation", seconds=1, source="host.rss", peak_bytes=3_000_000)
    send(stream, EvaluationEvent(job=job, attempt=1, sequence=7, at=1.0, step=4, loss=1.25, memory=[told]))
    recorder.step()
    send(stream, step(job, 8, 5))
    recorder.step()
    body = member.get(f"/api/jobs/{job}").json()
    assert body["peaks"] == {"host.rss": 3_000_000, "new": 7}
    assert (body["latest"]["evaluation_loss"], body["latest"]["loss"]) == (1.25, 2.0)
    with sessions.begin() as session:
        assert requeue(session, session.get_one(JobRow, job), resume_from_attempt=1)
    assert member.get(f"/api/jobs/{job}").json()["peaks"] == {"host.rss": 3_000_000, "new": 7}


def test_what_an_evaluation_held_of_the_gpu_counts_as_measured(
    sessions: Sessions, stream: redis.Redis, jobs: list[str]
) -> None:
    recorder, job = Recorder(stream, sessions), jobs[0]
    told = [PhaseMemory(phase="evaluation", seconds=1, source="nvml.process", peak_bytes=9_000_000)]
    send(stream, *begin(job), EvaluationEvent(job=job, attempt=1, sequence=3, at=1.0, step=1, loss=1.0, memory=told))
    recorder.step()
    with sessions() as session:
        assert session.get_one(JobRow, job).peak_gpu_bytes == 9_000_000


def test_an_evaluation_whose_loss_is_no_number_is_recorded(
    member: TestClient, sessions: Sessions, stream: redis.Redis, jobs: list[str]
) -> None:
    recorder, job = Recorder(stream, sessions), jobs[0]
    nothing = EvaluationEvent(job=job, attempt=1, sequence=4, at=1.0, step=1, loss=float("nan"))
    send(stream, *begin(job), *steps(job, 1, 1), nothing)
    recorder.step()
    assert member.get(f"/api/jobs/{job}/metrics").json()["evaluations"] == [{"step": 1, "loss": None}]


def test_a_death_between_commit_and_acknowledgement_repeats_nothing(
    member: TestClient, sessions: Sessions, stream: redis.Redis, jobs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs[0]
    send(stream, *begin(job), *steps(job, 1, 300))
    dying = Recorder(stream, sessions)

    def die(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError("Redis is gone")

    with monkeypatch.context() as patch:
        patch.setattr(stream, "pipeline", die)
        with pytest.raises(redis.ConnectionError):
            dying.step()
    assert recorded(sessions, job) == list(range(1, 303))
    series = member.get(f"/api/jobs/{job}/metrics?points=100").json()
    send(stream, *steps(job, 301, 305))
    successor = Recorder(stream, sessions)
    while not successor.settled(job):
        assert successor.step(), "the ones of before are read again, and change nothing"
    assert recorded(sessions, job) == list(range(1, 308))
    assert member.get(f"/api/jobs/{job}/metrics?points=100&to=300").json()["series"] == series["series"]


def test_what_a_release_before_read_and_did_not_record_is_recorded(
    sessions: Sessions, stream: redis.Redis, jobs: list[str]
) -> None:
    """Releases before this design read entries as a member of the group, and acknowledged them one by one."""
    job = jobs[0]
    key = wire.events(job)
    send(stream, *begin(job), *steps(job, 1, 10))
    stream.xgroup_create(key, wire.RECORDERS, id="0")
    stream.xreadgroup(wire.RECORDERS, "recorder", {key: ">"}, count=6)
    stream.xack(key, wire.RECORDERS, "1-1", "1-2")
    recorder = Recorder(stream, sessions)
    assert recorder.step() == 12
    assert recorded(sessions, job) == list(range(1, 13))
    assert recorder.settled(job)


def test_a_redis_that_came_back_with_older_data_does_not_keep_a_job_unsettled(
    sessions: Sessions, stream: redis.Redis, jobs: list[str]
) -> None:
    """It lost the last second, of the group's place too, and the relay has sent the events again, all before this controller noticed."""
    job = jobs[0]
    recorder = Recorder(stream, sessions)
    send(stream, *begin(job), *steps(job, 1, 10))
    recorder.step()
    stream.xgroup_setid(wire.events(job), wire.RECORDERS, "1-7")
    assert not recorder.settled(job)
    recorder.settle_idle()
    recorder.step()
    assert recorder.settled(job)
    assert recorded(sessions, job) == list(range(1, 13))


def test_a_commit_that_fails_is_tried_again(
    sessions: Sessions, stream: redis.Redis, jobs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs[0]
    recorder = Recorder(stream, sessions)
    send(stream, *begin(job), *steps(job, 1, 10))

    def locked(*_: Any, **__: Any) -> None:
        raise OperationalError("COMMIT", {}, Exception("database is locked"))

    with monkeypatch.context() as patch:
        patch.setattr(Session, "commit", locked)
        patch.setattr("backend.controller.recorder.follow", locked)
        with pytest.raises(OperationalError):
            recorder.step()
    assert recorded_rows(sessions, job) == 0
    send(stream, *steps(job, 11, 12))
    recorder.step()
    assert recorded(sessions, job) == list(range(1, 15))


def recorded_rows(sessions: Sessions, job: str) -> int:
    with sessions() as session:
        return session.execute(text("SELECT count(*) FROM events WHERE job = :job"), {"job": job}).scalar_one()


def test_the_log_goes_into_the_database_while_it_is_written_to(
    sessions: Sessions, stream: redis.Redis, jobs: list[str], on_postgres: bool, tmp_path: Path
) -> None:
    send(stream, *begin(jobs[0]), *steps(jobs[0], 1, 50))
    Recorder(stream, sessions).step()
    with sessions.begin() as writer, sessions() as mover:
        writer.execute(text("UPDATE jobs SET name = 'another'"))
        move_log(mover)
    if on_postgres:
        return  # which has no such log of its own
    alone = tmp_path / "without-its-log.sqlite"
    with sessions() as session:
        alone.write_bytes(Path(str(session.get_bind().engine.url.database)).read_bytes())
    with sqlite3.connect(alone) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (52,)


def test_what_cannot_be_read_is_left_out_and_does_not_stop_the_rest(
    member: TestClient, sessions: Sessions, stream: redis.Redis, jobs: list[str]
) -> None:
    job = jobs[0]
    recorder = Recorder(stream, sessions)
    send(stream, *begin(job), step(job, 3, 1))
    odd = [
        b"not json",
        b'{"job":"%b","attempt":1,"sequence":5,"at":1,"kind":"step","step":99999999999999999999,"step_seconds":1}'
        % job.encode(),
        step(job, 6, 2).model_dump_json(indent=1).encode(),
        b'{"job":"%b","attempt":1,"sequence":7,"at":1,"kind":"step","step":3,"step_seconds":1,"loss":"high","phases":[1]}'
        % job.encode(),
    ]
    for sequence, data in enumerate(odd, start=4):
        stream.xadd(wire.events(job), {wire.EVENT_FIELD: data}, id=f"1-{sequence}")  # pyright: ignore
    send(stream, line(job, 8), step(job, 9, 4))
    recorder.step()
    with sessions() as session:
        rows = session.execute(text("SELECT sequence, CAST(data AS TEXT) FROM events WHERE job = :job"), {"job": job})
        kept = dict(rows.tuples().all())
    assert sorted(kept) == [1, 2, 3, 6, 7, 8, 9]
    assert "\n" not in kept[6]
    series = member.get(f"/api/jobs/{job}/metrics").json()
    assert series["steps"] == [1, 2, 3, 4]
    assert series["series"]["loss"]["mean"] == [2.0, 2.0, None, 2.0]
