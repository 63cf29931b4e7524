"""Follow a job's events: first what SQL has, then the live stream, with no gap and no repeat.

The recorder may move entries from the stream to SQL between the two reads. Sequences have no holes within an attempt,
so a stream entry that is not the one expected means that SQL has the missing ones by now: it is read again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from backend.telemetry.entries import Entry, Position

WAIT_SECONDS = 1.0
BATCH = 1000
PATIENCE_SECONDS = 2.0
"""How often SQL is looked at while the stream is silent or away: the recorder may have been faster."""
GAP_SECONDS = 0.02
SETTLING_SECONDS = 0.1
SETTLING_LOOKS = 10
"""How often, and how many times, SQL is asked for the end of an attempt that the stream has already told."""


class Live(Protocol):
    """Where live events come from; the hub's Tail."""

    async def after(self, last: Position, patience_seconds: float) -> list[Entry]:
        """Entries after ``last``, in order; empty if none came for a while."""
        ...


def follows(position: Position, last: Position, settled: int) -> bool:
    """Whether nothing can be missing between ``last`` and ``position``.

    An attempt does not tell how many events the one before it had. So its first event follows only if SQL was read again
    after the stream had shown it (``settled`` is that attempt): by then everything before it was in SQL.
    """
    if position.attempt == last.attempt:
        return position.sequence == last.sequence + 1
    return position.sequence == 1 and position.attempt in (settled, 1)


Replay = Callable[[Position], list[Entry]]
"""Reads recorded events after a position, in order, at most BATCH of them."""


@dataclass
class Follower:
    replay: Replay
    ended: Callable[[Position], bool]
    """Whether SQL has the job as ended, and nothing after this position."""

    async def events(self, last: Position, live: Live) -> AsyncIterator[list[Entry]]:
        """Every event after ``last``, in batches; an empty one when there was nothing for a while. Ends after the job's last."""
        settled = 0
        clock = asyncio.get_running_loop().time
        finished = False
        while True:
            async for batch in self.recorded(last):
                last, finished = batch[-1].position, batch[-1].ends
                yield batch
            if await self.over(last, finished):
                return
            looked, before = clock(), last
            gap = finished = False
            while not gap and not finished and clock() - looked < PATIENCE_SECONDS:
                batch, stranger = next_ones(await live.after(last, WAIT_SECONDS), last, settled)
                if stranger:
                    gap, settled = True, stranger.position.attempt
                if batch:
                    last, finished = batch[-1].position, batch[-1].ends
                    looked = clock()
                if batch or not gap:
                    yield batch
            if gap and last == before:
                await asyncio.sleep(GAP_SECONDS)  # SQL has not got it yet

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

    async def recorded(self, last: Position) -> AsyncIterator[list[Entry]]:
        while True:
            found = await asyncio.to_thread(self.replay, last)
            if found:
                last = found[-1].position
                yield found
            if len(found) < BATCH:
                return


def next_ones(found: list[Entry], last: Position, settled: int) -> tuple[list[Entry], Entry | None]:
    """Those of ``found`` that follow ``last`` without a gap, up to the end of an attempt; and the first one that does not."""
    batch: list[Entry] = []
    for entry in found:
        if entry.position <= last:
            continue
        if not follows(entry.position, last, settled):
            return batch, entry
        batch.append(entry)
        last = entry.position
        if entry.ends:
            break
    return batch, None
