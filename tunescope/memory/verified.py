"""An estimate whose tensor terms are the trace's: tier "trace" in place of "formula". Only the CUDA context stays a band.

total_bytes is what nvidia-smi shows on a card with room; least_bytes is what the job needs at the least: it decides "fits".
"""

from typing import Any

from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.estimate import context_notes
from tunescope.memory.ledger import CATEGORIES
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.memory.trace import Trace
from tunescope.sentences import Sentence, say

DIFFERS_PERCENT = 1.0
"""Formula and trace are to agree within this share of the allocated bytes; else both are shown."""


def verified(estimate: dict[str, Any], trace: Trace, device: Device, stack: Stack = DEFAULT) -> dict[str, Any]:
    """``estimate`` (as ``Estimate.to_dict`` made it for ``device``) with the figures of ``trace``; the formula's are kept beside them.

    Traces are made for the reference GPU: another one's cuBLAS workspaces take the place of its.
    """
    low, expected, high = device.context_band(stack.context_bytes)
    workspaces = 2 * (device.cublas_workspace_bytes - DEFAULT_DEVICE.cublas_workspace_bytes)
    reserved = trace.replay.reserved_peak_bytes + workspaces
    smallest = trace.replay.smallest_budget_bytes + workspaces
    allocated = trace.peak_bytes + workspaces
    overhead = reserved - allocated + expected
    least, roomy, tight = smallest + expected, reserved + high, smallest + low
    ledger = {**dict.fromkeys(CATEGORIES, 0), **trace.ledger}
    ledger["workspace"] += workspaces
    ledger["fragmentation"] += overhead - expected
    ledger["runtime_context"] += expected
    notes = _of_the_device(device, stack)
    sites = sorted(trace.sites.items(), key=lambda item: -item[1])
    formula = estimate.get("formula") or {name: estimate[name] for name in ("total_bytes", "allocated_bytes", "ledger")}
    return {
        **estimate,
        "tier": "trace",
        "total_bytes": sum(ledger.values()),
        "allocated_bytes": allocated,
        "least_bytes": least,
        "ledger": ledger,
        "interval": [tight, roomy],
        "settled_bytes": None,
        "when_full": None,
        "fits": least <= device.total_bytes,
        "fit": "yes" if roomy <= device.total_bytes else "tight" if tight <= device.total_bytes else "no",
        "site": trace.peak_site,
        "sites": [{"name": name, "total_bytes": count + workspaces + overhead} for name, count in sites],
        "assumptions": [*trace.assumptions, *(note.text for note in notes)],
        "assumption_sentences": [note.model_dump() for note in [*trace.assumption_sentences, *notes]]
        if len(trace.assumption_sentences) == len(trace.assumptions)
        else [],  # an older worker's trace says its own in English only
        "formula": formula,
    }


def _of_the_device(device: Device, stack: Stack) -> list[Sentence]:
    """What the trace cannot know: where the figure of the CUDA context comes from, and whose workspaces were put in."""
    notes = context_notes(device, stack)
    if device.cublas_workspace_bytes != DEFAULT_DEVICE.cublas_workspace_bytes:
        notes.append(say("traced_for", reference=DEFAULT_DEVICE.name, device=device.name))
    return notes


def difference_percent(formula_bytes: int, traced_bytes: int) -> float:
    """How far the closed form's allocated bytes lie from the trace's; positive where the formula is higher."""
    return 100 * (formula_bytes - traced_bytes) / traced_bytes
