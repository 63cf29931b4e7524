"""What to change so that a job that ran out of memory, or was most likely killed for it, fits: the VRAM model's advice for the very
device that it died on."""

from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from backend.estimates.devices import device_for, device_that_failed
from backend.estimates.resolve import Around
from backend.jobs.tables import TRAIN, JobRow
from tunescope.events import FailureMemory
from tunescope.memory.advise import Language, advise
from tunescope.problems import Problem
from tunescope.settings import ServerSettings
from tunescope.states import FailureReason
from tunescope.stored_spec import stored_spec


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
    if (
        row.task != TRAIN
        or not row.failure
        or not (row.failure.get("reason") == FailureReason.OUT_OF_MEMORY or perhaps_for_memory(row))
    ):
        return []
    told = row.failure.get("memory")
    memory = FailureMemory.model_validate(told) if told else None
    device = device_that_failed(session, memory)
    try:
        around = Around(session, settings, device or device_for(session, None)[0])
        it = around.of_spec(row.name, stored_spec(row.spec))
        found = advise(it.spec, it.architecture, it.device, it.lengths, language=language)
    except Problem:
        return []
    items = [FailureSuggestion.model_validate(item) for item in found.to_dict()["suggestions"]]
    return items if device else [item.model_copy(update={"fits": None}) for item in items]


def perhaps_for_memory(row: JobRow) -> bool:
    """Whether a job without a GPU was killed, and by nobody who is known: most often that is the kernel, of which not every
    container is told."""
    advised = (row.failure or {}).get("advice_sentence") or {}
    return advised.get("kind") == "see_kernel_log" and not row.gpus
