"""Events as the recorder takes them from a stream.

Most are steps, ten thousand a second of them. Of a step only what decides its place in SQL, and its memory, is checked here; the rest is kept as text and
read when a chart needs it; every other event is checked whole.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from tunescope.events import JobEvent, MemoryFigure, StepEvent, job_event

Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""What both databases can hold in an INTEGER column."""


class Head(TypedDict):
    job: str
    attempt: Number
    sequence: Number
    at: float
    kind: str
    step: NotRequired[Number]
    step_seconds: NotRequired[float]
    memory: NotRequired[list[MemoryFigure]]


head: TypeAdapter[Head] = TypeAdapter(Head)


class Told(NamedTuple):
    """An event and its JSON text, on one line."""

    job: str
    attempt: int
    sequence: int
    at: float
    kind: str
    data: str
    step: int | None
    """The number of the step that a step event tells; None for all other events."""
    step_seconds: float
    memory: Sequence[MemoryFigure]
    event: JobEvent | None
    """The event; None for a step."""

    def step_event(self) -> StepEvent:
        """The step, checked whole. Raises ValidationError."""
        return StepEvent.model_validate_json(self.data)


def parse(data: bytes) -> Told:
    """Read an event. Raises ValidationError."""
    found = head.validate_json(data)
    if b"\n" in data or b"\r" in data:
        # JSON allows line breaks between its words, an event stream does not.
        data = job_event.validate_json(data).model_dump_json().encode()
    step = found.get("step") if found["kind"] == "step" else None
    seconds = found.get("step_seconds")
    whole = None if step is not None and seconds is not None else job_event.validate_json(data)
    return Told(
        found["job"],
        found["attempt"],
        found["sequence"],
        found["at"],
        found["kind"],
        data.decode(),
        step,
        seconds or 0.0,
        found.get("memory", ()),
        whole,
    )


def as_told(events: Iterable[JobEvent]) -> list[Told]:
    return [parse(event.model_dump_json().encode()) for event in events]
