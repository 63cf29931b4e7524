"""Who may run an attempt: one, whatever is sent twice or late."""

from collections.abc import Iterator

import pytest
import redis

from tests.api.servers import redis_server
from tunescope import wire
from worker.claim import Claim, Hold


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with redis_server() as url:
        yield redis.Redis.from_url(url)


@pytest.fixture(autouse=True)
def empty(client: redis.Redis) -> None:
    client.flushall()


def claim(client: redis.Redis, fence: int) -> Claim:
    return Claim(client, job="j", attempt=fence, fence=fence, machine="m")


def test_same_order_is_claimed_once(client: redis.Redis) -> None:
    assert claim(client, 1).acquire()
    assert not claim(client, 1).acquire()


def test_order_redelivered_after_the_job_ended_is_refused(client: redis.Redis) -> None:
    mine = claim(client, 1)
    assert mine.acquire()
    mine.release()
    assert client.get(wire.lease("j")) is None
    assert not claim(client, 1).acquire()


def test_later_fence_takes_over_and_the_older_loses(client: redis.Redis) -> None:
    old, new = claim(client, 1), claim(client, 2)
    assert old.acquire() and new.acquire()
    assert old.renew() is Hold.LOST
    assert new.renew() is Hold.HELD
    old.release()
    assert client.get(wire.lease("j")) is not None, "only its holder drops a lease"


def test_lease_is_set_again_after_redis_was_emptied(client: redis.Redis) -> None:
    mine = claim(client, 3)
    assert mine.acquire()
    client.flushall()
    assert mine.renew() is Hold.HELD
    assert not claim(client, 3).acquire()


def test_lease_lapses(client: redis.Redis) -> None:
    assert claim(client, 1).acquire()
    assert 0 < int(client.ttl(wire.lease("j"))) <= wire.LEASE_SECONDS  # pyright: ignore[reportArgumentType]
