"""A probe run's ledger in the place of the estimate, which is kept beside it."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from backend.measured.comparison import measured_account, on_gpu
from tunescope.events import LedgerEvent
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.ledger import CATEGORIES
from tunescope.memory.trace import Trace
from tunescope.memory.verified import verified
from tunescope.sentences import Sentence, say

PROBE = "probe"
CONTEXT = "runtime_context"
OF_THE_CALCULATION = frozenset(
    {"least_bytes", "sites", "assumptions", "assumption_sentences", "settled_bytes", "when_full"}
)
"""What only a calculated estimate tells. ``least_bytes`` above all: placement would go by it and not by what was measured."""


def formula_of(estimate: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The estimate as it was before any probe."""
    return estimate.get("formula") if is_probe(estimate) else estimate


def is_probe(estimate: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    return estimate is not None and estimate.get("tier") == PROBE


def with_probe(estimate: Mapping[str, Any] | None, probe: LedgerEvent) -> dict[str, Any] | None:
    """What a job needs, as just measured on its own GPU. A probe on the CPU says nothing about a GPU: no change."""
    if not on_gpu(probe):
        return dict(estimate) if estimate is not None else None
    formula, account = formula_of(estimate), measured_account(probe)
    notes: list[Sentence] = []
    if CONTEXT not in account:
        # In many containers the driver tells no processes. The context is taken of the GPU all the same.
        account[CONTEXT] = predicted_context(formula)
        notes.append(say("probe_context_predicted"))
    total = sum(account.values())
    if is_probe(estimate) and estimate.get("attempt") == probe.attempt and estimate["total_bytes"] >= total:
        return dict(estimate)  # the highest of the probe's steps counts; another attempt may run on another GPU
    kept = {name: value for name, value in (formula or {}).items() if name not in OF_THE_CALCULATION}
    return {
        **kept,
        **fit_of(total, kept),
        "tier": PROBE,
        "attempt": probe.attempt,
        "ledger": {category: account.get(category, 0) for category in CATEGORIES},
        "total_bytes": total,
        "interval": [total, total],
        "site": probe.peak_site,
        "allocated_bytes": probe.total_bytes,
        "assumptions": [note.text for note in notes],
        "assumption_sentences": [note.model_dump() for note in notes],
        "formula": formula,
    }


def predicted_context(estimate: Mapping[str, Any] | None) -> int:
    """Bytes of the CUDA context by a job's estimate; what is expected of any GPU where there is none."""
    if estimate is None:
        return DEFAULT_DEVICE.context_band()[1]
    return int(estimate["ledger"][CONTEXT])


def fit_of(total: int, estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Whether measured bytes fit the device that the estimate is for; nothing where there was no estimate."""
    if "device" not in estimate:
        return {}
    fits = total <= estimate["device"]["total_bytes"]
    return {"fits": fits, "fit": "yes" if fits else "no"}


def with_trace(estimate: Mapping[str, Any], trace: Trace, device: Device) -> dict[str, Any]:
    """An exact trace in the place of the formula, for the GPU of the estimate. What a probe measured stays the job's estimate: the trace is kept beside it."""
    if not is_probe(estimate):
        return verified(dict(estimate), trace, device)
    formula = estimate["formula"]
    return {**estimate, "formula": verified(dict(formula), trace, device) if formula else formula}
