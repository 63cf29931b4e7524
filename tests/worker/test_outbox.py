"""Events of an attempt: numbered without holes on disk, and delivered to a real Redis whatever happens to it."""

import json
import shutil
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.api.servers import redis_server
from tests.support.waiting import until
from tunescope import wire
from tunescope.events import LogEvent, StateEvent, StepEvent
from tunescope.states import JobState
from worker import relay as relaying
from worker.outbox import FILE, Outbox, read_events
from worker.relay import Relay, RelayThread


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with redis_server() as url:
        yield redis.Redis.from_url(url)


@pytest.fixture(autouse=True)
def empty(client: redis.Redis) -> None:
    client.flushall()


def outbox(tmp_path: Path, attempt: int = 1) -> Outbox:
    return Outbox(tmp_path, job="j", attempt=attempt)


def say(box: Outbox, *lines: str) -> None:
    for line in lines:
        box.emit(LogEvent, stream="trainer", line=line)


def in_redis(client: redis.Redis) -> list[str]:
    return [fields[wire.EVENT_FIELD.encode()].decode() for _, fields in client.xrange(wire.events("j"))]


def lines(client: redis.Redis) -> list[str]:
    return [json.loads(item)["line"] for item in in_redis(client)]


def test_two_writers_number_without_holes(tmp_path: Path) -> None:
    boxes = [outbox(tmp_path), outbox(tmp_path)]
    threads = [threading.Thread(target=say, args=(box, *[str(n) for n in range(200)])) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.sequence for event in read_events(tmp_path)] == list(range(1, 401))


def test_one_who_seldom_speaks_goes_on_with_the_numbers_and_reads_the_end_only(tmp_path: Path) -> None:
    seldom, often = outbox(tmp_path), outbox(tmp_path)
    say(seldom, "first")
    for length in (10, 100_000, 1_000_000, 500_000):  # longer than any piece that is read at once
        say(often, *["x" * length for _ in range(3)])
        say(seldom, "again")
    say(often, *["x" * 1000 for _ in range(5000)])
    tracemalloc.start()
    say(seldom, "last")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [event.sequence for event in read_events(tmp_path)] == list(range(1, 5019))
    assert peak < 1_000_000, "of five million bytes that others have told meanwhile"


def test_line_torn_by_a_crash_is_dropped_and_its_number_used_again(tmp_path: Path) -> None:
    say(outbox(tmp_path), "whole")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"kind":"log","sequence":2,"li')
    event = outbox(tmp_path).emit(StateEvent, state=JobState.FAILED)
    assert event.sequence == 2
    assert [item.kind for item in read_events(tmp_path)] == ["log", "state"]


def test_loss_that_is_not_a_number_is_told_as_unknown(tmp_path: Path) -> None:
    event = outbox(tmp_path).emit(
        StepEvent,
        step=1,
        total_steps=1,
        epoch=1.0,
        loss=float("nan"),
        learning_rate=1e-4,
        grad_norm=float("inf"),
        tokens=1,
        tokens_per_second=1.0,
        step_seconds=1.0,
    )
    assert event.loss is None and event.grad_norm is None


def test_delivery_twice_adds_once(tmp_path: Path, client: redis.Redis) -> None:
    say(outbox(tmp_path), "a", "b")
    assert Relay(client, tmp_path, job="j", attempt=1).deliver() == 2
    (tmp_path / "outbox.ack").unlink()  # as if the worker had died before it noted the delivery
    Relay(client, tmp_path, job="j", attempt=1).deliver()
    assert lines(client) == ["a", "b"]
    assert client.smembers(wire.EVENT_STREAMS) == {wire.events("j").encode()}


def test_redis_that_lost_entries_gets_them_again(tmp_path: Path, client: redis.Redis) -> None:
    box = outbox(tmp_path)
    relay = Relay(client, tmp_path, job="j", attempt=1)
    say(box, *[str(n) for n in range(1200)])
    relay.deliver()
    client.flushall()
    relay.deliver()
    assert lines(client) == [str(n) for n in range(1200)]


def test_late_words_of_an_older_attempt_do_no_harm(tmp_path: Path, client: redis.Redis) -> None:
    first, second = outbox(tmp_path / "1"), outbox(tmp_path / "2", attempt=2)
    say(first, "old")
    say(second, "new")
    Relay(client, tmp_path / "2", job="j", attempt=2).deliver()
    Relay(client, tmp_path / "1", job="j", attempt=1).deliver()
    assert lines(client) == ["new"]


def test_torn_line_is_not_delivered(tmp_path: Path, client: redis.Redis) -> None:
    say(outbox(tmp_path), "whole")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"torn')
    assert Relay(client, tmp_path, job="j", attempt=1).deliver() == 1
    say(outbox(tmp_path), "next")
    Relay(client, tmp_path, job="j", attempt=1).deliver()
    assert lines(client) == ["whole", "next"]


def test_a_job_that_was_deleted_since_does_not_keep_others_from_being_told(
    tmp_path: Path, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outbox is let go of some time after its end, when its folder may be gone."""
    monkeypatch.setattr(relaying, "WATCH_SECONDS", 0.0)
    gone, other = tmp_path / "gone", tmp_path / "other"
    gone.mkdir()
    say(outbox(gone), "one")
    thread = RelayThread(client)
    thread.add(gone, job="gone", attempt=1, finished=True)
    shutil.rmtree(gone)
    thread.start()
    other.mkdir()
    say(outbox(other), "two")
    thread.add(other, job="j", attempt=1)
    until(lambda: lines(client) == ["two"], within=10, what="the other job's line")
    assert thread.is_alive()
    thread.stop()
