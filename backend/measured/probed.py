"""A probe run's ledger in the place of the estimate, which is kept beside it."""

from collections.abc import Mapping
from typing import Any

from backend.measured.comparison import measured_account, on_gpu
from tunescope.events import LedgerEvent
from tunescope.memory.ledger import CATEGORIES

PROBE = "probe"


def formula_of(estimate: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The estimate as it was before any probe."""
    if estimate is not None and estimate.get("tier") == PROBE:
        return estimate.get("formula")
    return estimate


def with_probe(estimate: Mapping[str, Any] | None, probe: LedgerEvent) -> dict[str, Any] | None:
    """What a job needs, as just measured on its own GPU. A probe on the CPU says nothing about a GPU: no change."""
    if not on_gpu(probe):
        return dict(estimate) if estimate is not None else None
    account = measured_account(probe)
    total = sum(account.values())
    if estimate is not None and estimate.get("tier") == PROBE and estimate["total_bytes"] >= total:
        return dict(estimate)  # the highest of the probe's steps counts
    formula = formula_of(estimate)
    return {
        **(formula or {}),
        "tier": PROBE,
        "ledger": {category: account.get(category, 0) for category in CATEGORIES},
        "total_bytes": total,
        "interval": [total, total],
        "site": probe.peak_site,
        "allocated_bytes": probe.total_bytes,
        "formula": formula,
    }
