"""Events as the recorder takes them from a stream.

Most are steps, ten thousand a second of them: they are read by msgspec, which takes a third of the time that Pydantic takes, and stored
as the text that came. Every other event is checked whole by its model.
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

from tunescope.events import JobEvent, StepEvent, job_event

Number = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""What both databases can hold in an INTEGER column."""


class Head(msgspec.Struct, gc=False):
    """What decides an event's place in SQL."""

    job: str
    attempt: Number
    sequence: Number
    at: float
    kind: str
    step: Number | None = None
    step_seconds: float | None = None


class StepMemory(msgspec.Struct, gc=False):
    """The part of ``MemoryFigure`` that is followed and drawn. Bytes."""

    source: str
    bytes: int | None = None
    peak_bytes: int | None = None
    unknown_because: str | None = None


class StepPhase(msgspec.Struct, gc=False):
    """The part of ``PhaseMemory`` that is drawn. Bytes."""

    phase: str
    source: str
    peak_bytes: int | None = None
    unknown_because: str | None = None


class Step(Head, gc=False):
    """The figures of ``StepEvent`` that are followed and drawn."""

    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    meter_seconds: float | None = None
    memory: list[StepMemory] = []
    phases: list[StepPhase] = []


heads = msgspec.json.Decoder(Head)
steps = msgspec.json.Decoder(Step)


def read_step(data: bytes | str) -> Step:
    """A step, or as much of another event as they share. One with figures that are none keeps its place, and tells none.

    Raises msgspec.DecodeError."""
    try:
        return steps.decode(data)
    except msgspec.ValidationError:
        return msgspec.convert(msgspec.structs.asdict(heads.decode(data)), Step)


class Told(NamedTuple):
    """An event and its JSON text, on one line."""

    job: str
    attempt: int
    sequence: int
    at: float
    kind: str
    data: str
    step: Step | None
    """What a step event tells; None for all other events."""
    event: JobEvent | None
    """The event; None for a step."""

    def step_event(self) -> StepEvent:
        """The step, checked whole. Raises ValidationError."""
        return StepEvent.model_validate_json(self.data)


def parse(data: bytes) -> Told:
    """Read an event. Raises ValueError."""
    try:
        found = read_step(data)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    if b"\n" in data or b"\r" in data:
        # JSON allows line breaks between its words, an event stream does not.
        data = job_event.validate_json(data).model_dump_json().encode()
    step = found if found.kind == "step" and found.step and found.step_seconds is not None else None
    whole = None if step else job_event.validate_json(data)
    return Told(found.job, found.attempt, found.sequence, found.at, found.kind, data.decode(), step, whole)


def as_told(events: Iterable[JobEvent]) -> list[Told]:
    return [parse(event.model_dump_json().encode()) for event in events]
