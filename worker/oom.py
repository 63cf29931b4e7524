"""Words and figures for an attempt that died for lack of memory."""

from collections.abc import Sequence

from tunescope.events import FailureMemory, JobEvent, LedgerEvent, StepEvent
from tunescope.sentences import Sentence, say
from tunescope.units import format_bytes
from worker.probes.host import machine_memory
from worker.whereabouts import Whereabouts

SHOWN_CATEGORIES = 4


def moment(memory: FailureMemory | None, stage: str) -> Sentence:
    """When it was: the phase and step where they are known, else the stage of the attempt."""
    if memory is None or memory.step is None or (memory.phase is None and stage != "training"):
        return say("in_stage", stage=stage)
    if memory.phase is None:
        return say("after_step", step=memory.step)
    return say("in_phase", phase=memory.phase, step=memory.step)


def account(memory: FailureMemory | None) -> str:
    """What was held, in a sentence of its own; empty where nothing was measured."""
    if memory is None or not memory.categories:
        return ""
    largest = sorted(memory.categories.items(), key=lambda item: -item[1])[:SHOWN_CATEGORIES]
    parts = ", ".join(f"{name.replace('_', ' ')} {format_bytes(count)}" for name, count in largest)
    when = "Held then" if memory.categories_of_step is None else f"Held at the peak of step {memory.categories_of_step}"
    return f"\n{when}: {parts}; {format_bytes(sum(memory.categories.values()))} in all."


def last_memory(events: Sequence[JobEvent], where: Whereabouts) -> FailureMemory | None:
    """What the last step and ledger of a trainer said that was killed at ``where``; its death was a matter of main memory, not of the
    GPU's."""
    step = next((event for event in events if isinstance(event, StepEvent)), None)
    ledger = next((event for event in events if isinstance(event, LedgerEvent)), None)
    if step is None and ledger is None and where.step is None:
        return None
    at_hand = where.step if where.step is not None else step.step if step else None
    on_cpu = ledger is not None and ledger.source.startswith("cpu")
    return FailureMemory(
        device="CPU",
        device_bytes=machine_memory()[0],
        step=at_hand,
        phase=where.phase,
        longest_tokens=step.longest_tokens if step and step.step == at_hand else None,
        categories=ledger.categories if ledger and on_cpu else {},
        categories_of_step=ledger.step if ledger and on_cpu else None,
        allocated_bytes=next((item.peak_bytes for item in step.memory if item.source == "host.rss"), None)
        if step
        else None,
    )
