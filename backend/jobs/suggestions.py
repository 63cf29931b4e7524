"""What to change so that a job that ran out of memory fits: the VRAM model's advice for the very device that it died on."""

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from backend.datasets.lengths import lengths_of
from backend.estimates.resolve import architecture_of
from backend.jobs.tables import JobRow
from tunescope.events import FailureMemory
from tunescope.memory.advise import Language, advise
from tunescope.memory.devices import DEFAULT_DEVICE, Device, device_named
from tunescope.problems import Problem
from tunescope.settings import ServerSettings
from tunescope.spec import parse_spec
from tunescope.states import FailureReason


class FailureSuggestion(BaseModel):
    """One change; send ``patch`` to POST /api/jobs/{id}/clone to start the job anew with it."""

    id: str
    title: str
    price: str = Field(description="What it costs, in words.")
    bytes_saved: int
    total_bytes: int
    fits: bool | None = Field(
        description="On the device that was too small; None on the CPU, for which no estimate is made."
    )
    patch: dict[str, Any]


def suggestions(
    session: Session, settings: ServerSettings, row: JobRow, language: Language = "en"
) -> list[FailureSuggestion]:
    """Changes in the order of their price, those that make it fit first; none for other failures and unknown models."""
    if not row.failure or row.failure.get("reason") != FailureReason.OUT_OF_MEMORY:
        return []
    told = row.failure.get("memory")
    memory = FailureMemory.model_validate(told) if told else None
    device = device_that_failed(memory)
    try:
        spec = parse_spec(row.spec)
        lengths = lengths_of(session, settings, spec)
        found = advise(
            spec, architecture_of(session, settings, spec), device or DEFAULT_DEVICE, lengths, language=language
        )
    except Problem:
        return []
    items = [FailureSuggestion.model_validate(item) for item in found.to_dict()["suggestions"]]
    return items if device else [item.model_copy(update={"fits": None}) for item in items]


def device_that_failed(memory: FailureMemory | None) -> Device | None:
    """The GPU with the size that it really has; None on the CPU."""
    if memory is None or memory.device == "CPU" or not memory.device_bytes:
        return None
    try:
        known = device_named(memory.device)
    except Problem:
        return Device(memory.device, memory.device_bytes)
    return Device(memory.device, memory.device_bytes, known.architecture, known.context_bytes)
