"""Wrong passwords are counted in Redis, by who is tried and from where, so that guessing becomes slow."""

import hashlib

import redis

from tunescope.problems import TooMany
from tunescope.sentences import say

WINDOW_SECONDS = 15 * 60
LIMITS = (("pair", 10), ("address", 60), ("user", 200))
"""Wrong tries in a window: of one user from one address, from one address, of one user from anywhere.

The last is far above the first, so that a stranger cannot lock a user out by a few wrong tries.
"""


def keys(username: str, address: str) -> dict[str, str]:
    user = hashlib.sha256(username.strip().lower().encode()).hexdigest()[:32]
    return {
        "pair": f"tunescope:wrong:{user}:{address}",
        "address": f"tunescope:wrong:from:{address}",
        "user": f"tunescope:wrong:of:{user}",
    }


def refuse_after_too_many(connection: redis.Redis, username: str, address: str) -> None:
    """Raises TooMany. Without Redis nothing is counted: signing in must not depend on it."""
    counters = keys(username, address)
    try:
        for kind, limit in LIMITS:
            if int(connection.get(counters[kind]) or 0) >= limit:  # pyright: ignore[reportArgumentType]
                seconds = max(1, int(connection.ttl(counters[kind])))  # pyright: ignore[reportArgumentType]
                raise TooMany(say("too_many_passwords"), seconds)
    except redis.RedisError:
        return


def count_wrong(connection: redis.Redis, username: str, address: str) -> None:
    try:
        with connection.pipeline() as pipeline:
            for key in keys(username, address).values():
                pipeline.set(key, 0, ex=WINDOW_SECONDS, nx=True)
                pipeline.incr(key)
            pipeline.execute()
    except redis.RedisError:
        return


def forget(connection: redis.Redis, username: str, address: str) -> None:
    """A right password: this user's tries from here start anew."""
    try:
        connection.delete(keys(username, address)["pair"])
    except redis.RedisError:
        return
