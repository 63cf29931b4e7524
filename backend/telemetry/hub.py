"""One reader of each job's Redis stream for all its browsers: an event is read and put into words once, however many follow."""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import AsyncGenerator
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from backend.telemetry.entries import Entry, Position, streamed_entry
from tunescope import wire

BLOCK_MILLISECONDS = 1000
BATCH = 1000
WINDOW = 4000
"""Entries kept for readers that are behind; one that is further behind reads Redis or SQL by itself."""
GATHER_SECONDS = 0.01
"""Pause between reads of a busy stream, so that many events cost each browser one write."""


class Tail:
    """The newest entries of one job's stream: everything that it holds after ``start``."""

    def __init__(self, client: redis.asyncio.Redis, job: str) -> None:
        self.readers = 0
        self._client = client
        self._stream = wire.events(job)
        self._start = self._end = Position(0, 0)
        self._entries: list[Entry] = []
        self._grown = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._follow())

    async def after(self, last: Position, patience_seconds: float) -> list[Entry]:
        """Entries after ``last``; waits a while if there are none. What comes first may not be the next one: see Follower."""
        if last < self._start:
            found = await self._read(last, None)
            if found:
                return found
        if not self._newer(last):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self._grown.wait()
        return self._newer(last)

    def close(self) -> None:
        self._closed = True
        self._task.cancel()

    def _newer(self, last: Position) -> list[Entry]:
        if not self._entries or self._entries[-1].position <= last:
            return []
        return self._entries[bisect_right(self._entries, last, key=lambda entry: entry.position) :]

    async def _follow(self) -> None:
        while not self._closed:  # redis-py may swallow a cancellation while it connects
            found = await self._read(self._end, BLOCK_MILLISECONDS)
            if not found:
                continue
            self._entries += found
            self._end = found[-1].position
            if len(self._entries) > WINDOW:
                excess = len(self._entries) - WINDOW // 2
                self._start = self._entries[excess - 1].position
                del self._entries[:excess]
            grown, self._grown = self._grown, asyncio.Event()
            grown.set()
            await asyncio.sleep(GATHER_SECONDS)

    async def _read(self, last: Position, block_milliseconds: int | None) -> list[Entry]:
        """Entries of the stream after ``last``; empty if none comes, or Redis is away."""
        try:
            answer: Any = await self._client.xread({self._stream: str(last)}, count=BATCH, block=block_milliseconds)
        except RedisError:
            await asyncio.sleep(0.5)
            return []
        # redis-py answers with a mapping under RESP3 and with pairs under RESP2.
        streams: list[Any] = list(answer.values()) if isinstance(answer, dict) else [pair[1] for pair in answer or []]
        entries = streams[0] if streams else []
        if entries and isinstance(entries[0], list):
            entries = entries[0]
        return [streamed_entry(identifier, fields) for identifier, fields in entries]


class Hub:
    """The tails that somebody reads."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._tails: dict[str, Tail] = {}

    def __len__(self) -> int:
        return len(self._tails)

    @contextlib.asynccontextmanager
    async def tail(self, job: str) -> AsyncGenerator[Tail]:
        """A job's tail, made for its first reader and given up with its last."""
        tail = self._tails.get(job)
        if tail is None:
            tail = self._tails[job] = Tail(self._client, job)
        tail.readers += 1
        try:
            yield tail
        finally:
            tail.readers -= 1
            if tail.readers == 0:
                del self._tails[job]
                tail.close()
