"""Follow a job's events: first what SQL has, then the live stream, with no gap and no repeat.

The recorder may move entries from the stream to SQL between the two reads. Sequences have no holes within an attempt,
so a stream entry that is not the one expected means that SQL has the missing ones by now: it is read again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from tunescope import wire
from tunescope.events import JobEvent, StateEvent, job_event
from tunescope.states import TERMINAL

BLOCK_MILLISECONDS = 1000
HEARTBEAT_SECONDS = 15.0
BATCH = 1000
PATIENCE_SECONDS = 2.0
"""How often SQL is looked at while the stream is silent or away: the recorder may have been faster."""
SETTLING_SECONDS = 0.1
SETTLING_LOOKS = 10
"""How often, and how many times, SQL is asked for the end of an attempt that the stream has already told."""


class Position(NamedTuple):
    """The place of an event: the newest one that a client has. (0, 0) is before the first."""

    attempt: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.sequence}"

    @classmethod
    def parse(cls, text: str | None) -> "Position":
        """Read ``<attempt>-<sequence>``; anything else means from the start."""
        attempt, _, sequence = (text or "").partition("-")
        if attempt.isdecimal() and sequence.isdecimal() and len(attempt) < 10 and len(sequence) < 16:
            return cls(int(attempt), int(sequence))
        return cls(0, 0)


def position_of(event: JobEvent) -> Position:
    return Position(event.attempt, event.sequence)


def follows(event: JobEvent, last: Position, settled: int) -> bool:
    """Whether nothing can be missing between ``last`` and ``event``.

    An attempt does not tell how many events the one before it had. So its first event follows only if SQL was read again
    after the stream had shown it (``settled`` is that attempt): by then everything before it was in SQL.
    """
    if event.attempt == last.attempt:
        return event.sequence == last.sequence + 1
    return event.sequence == 1 and (event.attempt == settled or event.attempt == 1)


Replay = Callable[[Position], list[JobEvent]]
"""Reads recorded events after a position, in order, at most BATCH of them."""


@dataclass
class Follower:
    job: str
    replay: Replay
    ended: Callable[[Position], bool]
    """Whether SQL has the job as ended, and nothing after this position."""
    redis: redis.asyncio.Redis

    async def events(self, last: Position) -> AsyncIterator[JobEvent | None]:
        """Every event after ``last``; None when there was nothing for a while. Ends after the job's last event."""
        finished = False
        settled = 0
        looked = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            async for event in self.recorded(last):
                last, finished = position_of(event), ends(event)
                yield event
            if await self.over(last, finished):
                return
            looked = clock()
            gap = finished = False
            while not gap and not finished and clock() - looked < PATIENCE_SECONDS:
                found = await self.live(last)
                if not found:
                    yield None
                for event in found:
                    if position_of(event) <= last:
                        continue
                    if not follows(event, last, settled):
                        gap, settled = True, event.attempt
                        break
                    last, finished = position_of(event), ends(event)
                    looked = clock()
                    yield event

    async def over(self, last: Position, finished: bool) -> bool:
        """Whether the job has ended. ``finished`` tells that the event at ``last`` ended its attempt.

        SQL decides, and may be a moment behind the stream: a client that hears of the end asks for the job next, and must
        find it ended. A retried job has not ended: it goes on with its next attempt.
        """
        for _ in range(SETTLING_LOOKS if finished else 1):
            if await asyncio.to_thread(self.ended, last):
                return True
            if finished:
                await asyncio.sleep(SETTLING_SECONDS)
        return False

    async def recorded(self, last: Position) -> AsyncIterator[JobEvent]:
        while True:
            found = await asyncio.to_thread(self.replay, last)
            for event in found:
                last = position_of(event)
                yield event
            if len(found) < BATCH:
                return

    async def live(self, last: Position) -> list[JobEvent]:
        """Entries of the stream after ``last``; empty if none comes for a while."""
        try:
            answer: Any = await self.redis.xread(
                {wire.events(self.job): str(last)}, count=BATCH, block=BLOCK_MILLISECONDS
            )
        except RedisError:
            await asyncio.sleep(0.5)
            return []
        # redis-py answers with a mapping under RESP3 and with pairs under RESP2.
        streams: list[Any] = list(answer.values()) if isinstance(answer, dict) else [pair[1] for pair in answer or []]
        entries = streams[0] if streams else []
        if entries and isinstance(entries[0], list):
            entries = entries[0]
        return [job_event.validate_json(fields[wire.EVENT_FIELD]) for _, fields in entries]


def ends(event: JobEvent) -> bool:
    return isinstance(event, StateEvent) and event.state in TERMINAL
