"""How far the recording of events is behind."""

from typing import cast

import redis
from redis.exceptions import ResponseError

from tunescope import wire


def recorder_lag(connection: redis.Redis) -> int:
    """Events in Redis that are not yet in SQL. ``connection`` decodes. Raises RedisError.

    Entry ids are ``<attempt>-<sequence>`` without holes in an attempt, so they can be subtracted.
    """
    total = 0
    for stream in cast(set[str], connection.smembers(wire.EVENT_STREAMS)):
        try:
            last = connection.xinfo_stream(stream)["last-generated-id"]
            groups = connection.xinfo_groups(stream)
        except ResponseError:  # the stream has gone since
            continue
        group = next((item for item in groups if item["name"] == wire.RECORDERS), None)
        read, pending = (group["last-delivered-id"], int(group["pending"])) if group else ("0-0", 0)
        total += between(str(read), str(last)) + pending
    return total


def between(read: str, last: str) -> int:
    """Entries after ``read`` up to ``last``; of attempts before the last one, those still unread are not counted."""
    attempt, _, sequence = last.partition("-")
    read_attempt, _, read_sequence = read.partition("-")
    return int(sequence) - (int(read_sequence) if read_attempt == attempt else 0)
