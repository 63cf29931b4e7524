"""Server-sent events over real HTTP: live, resumed, to many readers, ending with the job."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
import redis
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from backend.jobs.following import apply_events
from backend.telemetry import routes
from backend.telemetry.recording import Recording
from backend.telemetry.told import as_told
from tests.api.conftest import ADMIN_TOKEN
from tests.api.make import assign, spec, state, step
from tests.support.waiting import until
from tunescope import wire
from tunescope.events import JobEvent
from tunescope.settings import ServerSettings
from tunescope.states import JobState

HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
STEPS = 40
Seen = list[tuple[str, str]]
"""(event, id) of each event that a reader got."""


class Serving:
    """The API on a port of its own, which it takes again when it is started anew."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = uvicorn.Server(uvicorn.Config(self._app, port=self.port, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        until(lambda: self._server.started, within=20, what="the server listens")
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(20)


@pytest.fixture
def serving(app: FastAPI) -> Iterator[Serving]:
    server = Serving(app)
    yield server
    server.stop()


@pytest.fixture
def url(serving: Serving) -> str:
    return f"http://127.0.0.1:{serving.port}"


@pytest.fixture
def job(url: str, sessions: sessionmaker[Session]) -> str:
    answer = httpx.post(f"{url}/api/jobs", json=spec(), headers=HEADERS)
    assert answer.status_code == 201, answer.text
    assign(sessions, answer.json()["id"])
    return answer.json()["id"]


@pytest.fixture
def stream(settings: ServerSettings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as connection:
        yield connection


def history(job: str) -> list[JobEvent]:
    steps = [step(job, 2 + number, number) for number in range(1, STEPS + 1)]
    last = state(job, STEPS + 3, JobState.SUCCEEDED)
    return [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING), *steps, last]


def send(stream: redis.Redis, event: JobEvent) -> None:
    """What the worker's relay does."""
    fields = {wire.EVENT_FIELD: event.model_dump_json()}
    stream.xadd(wire.events(event.job), fields, id=f"{event.attempt}-{event.sequence}")  # pyright: ignore[reportArgumentType]


def keep(sessions: sessionmaker[Session], stream: redis.Redis, events: list[JobEvent]) -> None:
    """What the recorder does: SQL first, then the entries leave the stream."""
    with sessions.begin() as session:
        Recording().record(session, as_told(events))
        apply_events(session, events[0].job, as_told(events))
    stream.xdel(wire.events(events[0].job), *(f"{event.attempt}-{event.sequence}" for event in events))


async def read(
    url: str,
    job: str,
    last: str | None = None,
    stop: int | None = None,
    opened: Callable[[], object] | None = None,
    seen: Seen | None = None,
) -> Seen:
    """Read a job's events until the stream ends, or until ``stop`` of them were seen; ``seen`` keeps them though it breaks off."""
    seen = [] if seen is None else seen
    headers = HEADERS | ({"Last-Event-ID": last} if last else {})
    name = identifier = ""
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/api/jobs/{job}/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        if opened:
            opened()
        async for text in answer.aiter_lines():
            field, _, value = text.partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                identifier = value
            elif not text and name:
                seen.append((name, identifier))
                name = identifier = ""
                if len(seen) == stop:
                    return seen
    return seen


def told(job: str, after: int = 0) -> Seen:
    return [*((event.kind, f"1-{event.sequence}") for event in history(job)[after:]), ("end", "")]


def test_fifty_readers_see_every_event_once(
    url: str, job: str, stream: redis.Redis, sessions: sessionmaker[Session]
) -> None:
    """One of them loses its connection on the way and resumes with the id of the last event it saw."""
    events = history(job)
    here = threading.Semaphore(0)

    def work() -> None:
        for _ in range(50):
            assert here.acquire(timeout=30)
        for start in range(0, len(events), 5):
            batch = events[start : start + 5]
            for event in batch:
                send(stream, event)
            keep(sessions, stream, batch)

    async def falling_out() -> Seen:
        first = await read(url, job, stop=7, opened=here.release)
        await asyncio.sleep(0.2)
        return first + await read(url, job, last=first[-1][1])

    async def everybody() -> list[Seen]:
        return await asyncio.gather(falling_out(), *(read(url, job, opened=here.release) for _ in range(49)))

    worker = threading.Thread(target=work)
    worker.start()
    answers = asyncio.run(everybody())
    worker.join(30)
    assert all(seen == told(job) for seen in answers)


def test_fifty_readers_see_every_event_once_though_the_server_is_restarted_under_them(
    serving: Serving, url: str, job: str, stream: redis.Redis, sessions: sessionmaker[Session]
) -> None:
    """Their streams break off in the middle; each comes back with the last id that it saw, as browsers do by themselves."""
    events = history(job)
    here = threading.Semaphore(0)
    half = len(events) // 2

    def work() -> None:
        for _ in range(50):
            assert here.acquire(timeout=30)
        for event in events[:half]:
            send(stream, event)
        keep(sessions, stream, events[: half - 5])
        serving.stop()
        # What is told while nobody serves: some of it leaves the stream, some is still in it.
        for event in events[half:-3]:
            send(stream, event)
        keep(sessions, stream, events[half - 5 : half + 5])
        serving.start()
        for event in events[-3:]:
            send(stream, event)
        keep(sessions, stream, events[half + 5 :])

    async def browser() -> Seen:
        seen: Seen = []
        opened: Callable[[], object] | None = here.release
        while not seen or seen[-1][0] != "end":
            try:
                await read(url, job, seen[-1][1] if seen else None, opened=opened, seen=seen)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            opened = None
        return seen

    async def everybody() -> list[Seen]:
        return await asyncio.gather(*(browser() for _ in range(50)))

    worker = threading.Thread(target=work)
    worker.start()
    answers = asyncio.run(everybody())
    worker.join(30)
    assert all(seen == told(job) for seen in answers)


def test_readers_that_come_at_any_time_share_one_reader_of_redis(
    url: str, app: FastAPI, job: str, stream: redis.Redis, sessions: sessionmaker[Session]
) -> None:
    events = history(job)
    for event in events[:20]:
        send(stream, event)
    late = threading.Semaphore(0)

    def work() -> None:
        for _ in range(8):
            assert late.acquire(timeout=30)
        assert len(app.state.hub) == 1
        for event in events[20:]:
            send(stream, event)
        keep(sessions, stream, list(events))

    async def everybody() -> list[Seen]:
        last = [None, "1-1", "1-7", "1-19", "1-20", "1-20", None, "1-3"]
        return await asyncio.gather(*(read(url, job, last=position, opened=late.release) for position in last))

    worker = threading.Thread(target=work)
    worker.start()
    answers = asyncio.run(everybody())
    worker.join(30)
    assert [len(seen) for seen in answers] == [len(told(job, after)) for after in (0, 1, 7, 19, 20, 20, 0, 3)]
    assert all(seen == told(job, len(events) + 1 - len(seen)) for seen in answers)
    until(lambda: len(app.state.hub) == 0, within=5, what="the stream is given up with its last reader")


@pytest.mark.parametrize("recorded", [0, 7, 20, STEPS + 3])
def test_resuming_leaves_no_gap_and_repeats_nothing(
    url: str, job: str, stream: redis.Redis, sessions: sessionmaker[Session], recorded: int
) -> None:
    events = history(job)
    for event in events:
        send(stream, event)
    if recorded:
        keep(sessions, stream, events[:recorded])
    first = asyncio.run(read(url, job, stop=12))
    late = threading.Timer(0.3, keep, (sessions, stream, events[recorded:]))
    rest = asyncio.run(read(url, job, last=first[-1][1], opened=late.start if events[recorded:] else None))
    assert first + rest == told(job)


def test_a_job_that_ended_without_a_word_ends_its_stream(url: str) -> None:
    queued = httpx.post(f"{url}/api/jobs", json=spec(), headers=HEADERS).json()["id"]
    httpx.post(f"{url}/api/jobs/{queued}/cancel", headers=HEADERS).raise_for_status()
    assert asyncio.run(read(url, queued)) == [("end", "")]


def test_the_end_is_told_when_sql_has_it(
    url: str, job: str, stream: redis.Redis, sessions: sessionmaker[Session]
) -> None:
    events = history(job)
    for event in events:
        send(stream, event)
    late = threading.Timer(0.4, keep, (sessions, stream, events))
    late.start()
    assert asyncio.run(read(url, job))[-1] == ("end", "")
    assert httpx.get(f"{url}/api/jobs/{job}", headers=HEADERS).json()["state"] == "succeeded"


def test_a_retried_job_is_followed_into_its_next_attempt(
    url: str, job: str, stream: redis.Redis, sessions: sessionmaker[Session]
) -> None:
    keep(sessions, stream, [state(job, 1, JobState.STARTING), state(job, 2, JobState.FAILED)])
    httpx.post(f"{url}/api/jobs/{job}/retry", headers=HEADERS).raise_for_status()
    assign(sessions, job)
    later = [state(job, 1, JobState.STARTING, attempt=2), state(job, 2, JobState.FAILED, attempt=2)]

    def work() -> None:
        for event in later:
            send(stream, event)
        keep(sessions, stream, list(later))

    def opened() -> None:
        timer.start()

    timer = threading.Timer(0.5, work)
    seen = asyncio.run(read(url, job, opened=opened))
    assert [identifier for _, identifier in seen] == ["1-1", "1-2", "2-1", "2-2", ""]


def test_an_unknown_job_is_a_problem_not_a_stream(admin: TestClient) -> None:
    answer = admin.get("/api/jobs/nothing/events")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_stream_ends_for_somebody_who_was_removed(
    url: str, job: str, monkeypatch: pytest.MonkeyPatch, sessions: sessionmaker[Session]
) -> None:
    monkeypatch.setattr(routes, "HEARTBEAT_SECONDS", 0.1)
    person = {"username": "eve", "password": "a long enough password"}
    user = httpx.post(f"{url}/api/users", json=person, headers=HEADERS).json()["id"]
    with httpx.Client(base_url=url, timeout=20) as eve:
        assert eve.post("/api/session", json=person).status_code == 200
        with eve.stream("GET", f"/api/jobs/{job}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": still here"
            httpx.delete(f"{url}/api/users/{user}", headers=HEADERS).raise_for_status()
            assert "event: end" not in list(lines), "cut off; the job goes on"
        assert eve.get(f"/api/jobs/{job}/events").status_code == 401


def test_the_stream_of_a_deleted_job_ends(url: str, sessions: sessionmaker[Session]) -> None:
    queued = httpx.post(f"{url}/api/jobs", json=spec(), headers=HEADERS).json()["id"]

    def gone() -> None:
        httpx.post(f"{url}/api/jobs/{queued}/cancel", headers=HEADERS).raise_for_status()
        httpx.delete(f"{url}/api/jobs/{queued}", headers=HEADERS).raise_for_status()

    def opened() -> None:
        threading.Timer(0.2, gone).start()

    assert asyncio.run(read(url, queued, opened=opened)) == [("end", "")]
