"""An event on its way to browsers: where it stands, and its text as it goes over the wire, made once for all readers."""

from typing import Any, NamedTuple

import orjson

from tunescope import wire
from tunescope.states import TERMINAL


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


class Entry(NamedTuple):
    position: Position
    ends: bool
    """Whether nothing more comes from this attempt."""
    frame: bytes
    """The server-sent event."""


def entry_of(position: Position, kind: str, data: str, state: str | None = None) -> Entry:
    """``data`` is the event as JSON on one line; ``state`` what a state event tells."""
    frame = f"id: {position}\nevent: {kind}\ndata: {data}\n\n".encode()
    return Entry(position, kind == "state" and state in TERMINAL, frame)


def recorded_entry(attempt: int, sequence: int, kind: str, data: str) -> Entry:
    """An event from SQL."""
    state = orjson.loads(data).get("state") if kind == "state" else None
    return entry_of(Position(attempt, sequence), kind, data, state)


def streamed_entry(identifier: str, fields: dict[str, str]) -> Entry:
    """An entry of a Redis stream. One that cannot be read keeps its place and says nothing; the recorder leaves it out too."""
    position = Position.parse(identifier)
    data = fields.get(wire.EVENT_FIELD, "")
    try:
        event: dict[str, Any] = orjson.loads(data)
        kind = str(event["kind"])
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return Entry(position, False, b"")
    if "\n" in data or "\r" in data:  # JSON may be broken into lines, a server-sent event's field may not
        data = orjson.dumps(event).decode()
    return entry_of(position, kind, data, event.get("state"))
