"""May this machine run this attempt? A lease in Redis with a fencing number, so that no Order runs twice.

The lease lapses when it is not renewed; the fence key stays, so an Order that comes late is refused even after the job ended.
"""

import json
from enum import StrEnum
from typing import cast

import redis

from tunescope import wire

FENCE_SECONDS = 30 * 86400
"""How long a finished job's fence is kept: longer than any Order can linger in a queue."""

# KEYS: lease, fence. ARGV: fence, lease value, lease seconds, fence seconds.
CLAIM = """
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if held >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

# As above. A lease or fence that is missing is set again: Redis may have been restarted without its data.
RENEW = """
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if held > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

# KEYS: lease. ARGV: lease value. Only the holder may drop a lease.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Hold(StrEnum):
    """What a renewal found."""

    HELD = "held"
    LOST = "lost"


class Claim:
    """The right to run one attempt. All methods raise redis.RedisError when Redis does not answer."""

    def __init__(self, client: "redis.Redis", *, job: str, attempt: int, fence: int, machine: str) -> None:
        self._client = client
        self._keys = [wire.lease(job), wire.fence(job)]
        self._value = json.dumps({"fence": fence, "attempt": attempt, "machine": machine})
        self._arguments = [fence, self._value, wire.LEASE_SECONDS, FENCE_SECONDS]

    def acquire(self) -> bool:
        """Take the lease; False if this fence, or a later one, was claimed or refused before."""
        return bool(cast(int, self._client.register_script(CLAIM)(keys=self._keys, args=self._arguments)))

    def renew(self) -> Hold:
        """Prolong the lease; LOST means that a later attempt owns the job and this one must stop."""
        held = cast(int, self._client.register_script(RENEW)(keys=self._keys, args=self._arguments))
        return Hold.HELD if held else Hold.LOST

    def release(self) -> None:
        self._client.register_script(RELEASE)(keys=self._keys[:1], args=[self._value])
