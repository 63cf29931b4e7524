"""Followers see every event once, whatever the recorder moves from the stream to SQL between their reads."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.telemetry import stream
from backend.telemetry.stream import Follower, Position
from tunescope import wire
from tunescope.events import JobEvent, LogEvent, StateEvent
from tunescope.states import JobState


class World:
    """SQL and a Redis stream in memory: the worker adds at one end, the recorder moves at the other, at random times."""

    def __init__(self, events: list[JobEvent], seed: int) -> None:
        self.pending, self.streamed, self.recorded = list(events), [], []
        self.random = random.Random(seed)

    def stir(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            if self.pending and self.random.random() < 0.6:
                self.streamed.append(self.pending.pop(0))
            if self.streamed and self.random.random() < 0.5:
                self.recorded.append(self.streamed.pop(0))

    def replay(self, last: Position) -> list[JobEvent]:
        self.stir()
        found = [event for event in self.recorded if stream.position_of(event) > last]
        self.stir()
        return found

    def ended(self, last: Position) -> bool:
        return not self.pending and not self.streamed and not self.replay(last)

    async def xread(self, streams: dict[str, str], **_: object) -> list[object]:
        self.stir()
        if self.pending and not self.streamed:
            self.streamed.append(self.pending.pop(0))
        last = Position.parse(streams[wire.events("j")])
        found = [event for event in self.streamed if stream.position_of(event) > last]
        self.stir()
        return [["s", [("id", {wire.EVENT_FIELD: event.model_dump_json()}) for event in found]]] if found else []


def history(attempts: list[int]) -> list[JobEvent]:
    events: list[JobEvent] = []
    for attempt, count in enumerate(attempts, start=1):
        for sequence in range(1, count + 1):
            events.append(LogEvent(job="j", attempt=attempt, sequence=sequence, at=0, stream="trainer", line="x"))
    last = events[-1]
    events.append(StateEvent(job="j", attempt=last.attempt, sequence=last.sequence + 1, at=0, state=JobState.SUCCEEDED))
    return events


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    """The world below never blocks, so looking at SQL every two seconds would only be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PATIENCE_SECONDS", 0.001)
        patch.setattr(stream, "SETTLING_SECONDS", 0.001)
        yield


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(0, 2**32), st.integers(0, 30))
def test_no_gap_and_no_repeat(attempts: list[int], seed: int, seen: int) -> None:
    events = history(attempts)
    start = Position(0, 0) if seen == 0 or seen >= len(events) else stream.position_of(events[seen - 1])
    world = World(events, seed)
    # A client that resumes has seen what it says: it is recorded.
    while world.pending and (not world.recorded or stream.position_of(world.recorded[-1]) < start):
        if start == Position(0, 0):
            break
        world.recorded.append(world.pending.pop(0))

    async def follow() -> list[Position]:
        follower = Follower("j", world.replay, world.ended, world)  # type: ignore[arg-type]
        return [stream.position_of(event) async for event in follower.events(start) if event is not None]

    expected = [stream.position_of(event) for event in events if stream.position_of(event) > start]
    assert asyncio.run(asyncio.wait_for(follow(), 20)) == expected
