"""An estimate whose tensor terms are the trace's: tier "trace" in place of "formula". Only the CUDA context stays a band.

total_bytes is what nvidia-smi shows on a card with room; least_bytes is what the job needs at the least: it decides "fits".
"""

from typing import Any

from tunescope.memory.devices import DEVICES, Device
from tunescope.memory.ledger import CATEGORIES
from tunescope.memory.trace import Trace

DIFFERS_PERCENT = 1.0
"""Formula and trace are to agree within this share of the allocated bytes; else both are shown."""


def verified(estimate: dict[str, Any], trace: Trace) -> dict[str, Any]:
    """``estimate`` (as ``Estimate.to_dict`` made it) with the figures of ``trace``; the formula's are kept beside them."""
    device = _device(estimate)
    low, expected, high = device.context_band()
    overhead = trace.replay.reserved_peak_bytes - trace.peak_bytes + expected
    least = trace.replay.smallest_budget_bytes + expected
    roomy = trace.replay.reserved_peak_bytes + high
    tight = trace.replay.smallest_budget_bytes + low
    ledger = {**dict.fromkeys(CATEGORIES, 0), **trace.ledger}
    ledger["fragmentation"] += overhead - expected
    ledger["runtime_context"] += expected
    sites = sorted(trace.sites.items(), key=lambda item: -item[1])
    formula = estimate.get("formula") or {name: estimate[name] for name in ("total_bytes", "allocated_bytes", "ledger")}
    return {
        **estimate,
        "tier": "trace",
        "total_bytes": sum(ledger.values()),
        "allocated_bytes": trace.peak_bytes,
        "least_bytes": least,
        "ledger": ledger,
        "interval": [tight, roomy],
        "fits": least <= device.total_bytes,
        "fit": "yes" if roomy <= device.total_bytes else "tight" if tight <= device.total_bytes else "no",
        "site": trace.peak_site,
        "sites": [{"name": name, "total_bytes": count + overhead} for name, count in sites],
        "assumptions": trace.assumptions,
        "formula": formula,
    }


def difference_percent(formula_bytes: int, trace: Trace) -> float:
    """How far the closed form's allocated bytes lie from the trace's; positive where the formula is higher."""
    return 100 * (formula_bytes - trace.peak_bytes) / trace.peak_bytes


def _device(estimate: dict[str, Any]) -> Device:
    told = estimate["device"]
    return DEVICES.get(told["name"]) or Device(told["name"], told["total_bytes"])
