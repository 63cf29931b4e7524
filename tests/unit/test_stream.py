"""Followers see every event once, whatever the recorder moves from the stream to SQL between their reads."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.telemetry import stream
from backend.telemetry.entries import Entry, Position, entry_of
from backend.telemetry.stream import Follower
from tunescope.states import JobState


class World:
    """SQL and a Redis stream in memory: the worker adds at one end, the recorder moves at the other, at random times."""

    def __init__(self, entries: list[Entry], seed: int) -> None:
        self.pending, self.streamed, self.recorded = list(entries), [], []
        self.random = random.Random(seed)

    def stir(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            if self.pending and self.random.random() < 0.6:
                self.streamed.append(self.pending.pop(0))
            if self.streamed and self.random.random() < 0.5:
                self.recorded.append(self.streamed.pop(0))

    def replay(self, last: Position) -> list[Entry]:
        self.stir()
        found = [entry for entry in self.recorded if entry.position > last]
        self.stir()
        return found

    def ended(self, last: Position) -> bool:
        return not self.pending and not self.streamed and not self.replay(last)

    async def after(self, last: Position, _patience_seconds: float) -> list[Entry]:
        self.stir()
        if self.pending and not self.streamed:
            self.streamed.append(self.pending.pop(0))
        found = [entry for entry in self.streamed if entry.position > last]
        self.stir()
        return found


def history(attempts: list[int]) -> list[Entry]:
    entries = [
        entry_of(Position(attempt, sequence), "log", "{}")
        for attempt, count in enumerate(attempts, start=1)
        for sequence in range(1, count + 1)
    ]
    last = entries[-1].position
    return [*entries, entry_of(Position(last.attempt, last.sequence + 1), "state", "{}", JobState.SUCCEEDED)]


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    """The world below never blocks, so looking at SQL every two seconds would only be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PATIENCE_SECONDS", 0.001)
        patch.setattr(stream, "GAP_SECONDS", 0.0)
        patch.setattr(stream, "SETTLING_SECONDS", 0.001)
        yield


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(0, 2**32), st.integers(0, 30))
def test_no_gap_and_no_repeat(attempts: list[int], seed: int, seen: int) -> None:
    entries = history(attempts)
    start = Position(0, 0) if seen == 0 or seen >= len(entries) else entries[seen - 1].position
    world = World(entries, seed)
    # A client that resumes has seen what it says: it is recorded.
    while world.pending and (not world.recorded or world.recorded[-1].position < start):
        if start == Position(0, 0):
            break
        world.recorded.append(world.pending.pop(0))

    async def follow() -> list[Position]:
        follower = Follower(world.replay, world.ended)
        return [entry.position async for batch in follower.events(start, world) for entry in batch]

    expected = [entry.position for entry in entries if entry.position > start]
    assert asyncio.run(asyncio.wait_for(follow(), 20)) == expected
