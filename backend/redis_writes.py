"""Whether Redis takes what it is told: where its disk is full it still answers every question, but keeps nothing."""

import redis

from tunescope import wire


def refusal(connection: redis.Redis) -> str | None:
    """Why Redis refuses to write, in its own words; None where it writes. Raises redis.RedisError where it does not answer at all."""
    try:
        connection.set(wire.WRITABLE, "1", ex=1)
    except redis.ResponseError as error:
        return str(error)
    return None
