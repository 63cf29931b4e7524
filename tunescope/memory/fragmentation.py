"""What the caching allocator reserves beyond what is allocated at the peak. The least certain term.

Reserved memory peaks at the site whose live tensors and unusable cached blocks are highest together. With batches of one
length, cached blocks come back for the same tensors each step, and little is lost; with varying lengths every batch longer
than all before it finds its large blocks too small, and the old ones stay cached beside the new.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tunescope.memory.sites import Site

SHARE = (0.15, 0.21, 0.29)
"""(low, expected, high) share of a site's movable bytes that lies cached and unused at fixed lengths: replays of
Mistral-7B, Llama-2-70B and PowerLM traces (ESTIMATION.md section 5)."""
SHARE_KEPT = (0.03, 0.08, 0.15)
"""The same without gradient checkpointing, where most of what is live lies in blocks of its own: coarse replays
(``python -m benchmarks.varying_lengths``, 32 layers)."""
OPTIMIZER_LEFTOVER = (0.1, 0.57, 1.0)
"""When the optimizer step decides, this share of the cached activations serves neither gradients nor temporaries: same replays."""

SETTLES = 0.42
"""Share of what varying lengths add that Adam's states and the gradients, made after it, settle in: replays of full
fine-tuning (``python -m benchmarks.varying_lengths``)."""
SPREADS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
"""Longest micro batch over the median one."""
LOGITS_DECIDE = (
    (1.0, 1.0, 1.0), (2.36, 3.57, 4.84), (2.12, 3.29, 5.06), (2.03, 3.08, 4.64), (1.77, 2.79, 4.14), (1.54, 2.37, 3.30), (1.02, 1.65, 2.33),
    (1.0, 1.17, 1.56),
)  # fmt: skip
"""(10, 50, 90 %) of reserved bytes over those of the longest length alone, native allocator, after 32 passes:
``python -m benchmarks.varying_lengths``. With expandable segments it is 1.0 throughout."""
LAYERS_DECIDE = (
    (1.0, 1.0, 1.0), (1.05, 2.21, 3.88), (1.63, 2.63, 4.08), (1.67, 2.59, 3.47), (1.58, 2.21, 3.31), (1.35, 1.89, 2.64), (1.0, 1.29, 1.80),
    (1.0, 1.0, 1.27),
)  # fmt: skip


@dataclass(frozen=True)
class Fragmentation:
    low: int
    expected: int
    high: int


@dataclass(frozen=True)
class Reserve:
    """One site as the allocator sees it: all live tensors, those of them that come and go, and blocks cached beside them."""

    site: Site
    tensors: int
    loss_cached: int = 0
    """Loss sites: blocks of the loss path and of forward's layers that are free at its peak but fit nothing there."""
    step_temporary: int = 0
    checkpointing: bool = True
    late: int = 0
    """Bytes of gradients and optimizer states: made after the first passes, in blocks those left."""

    @property
    def movable(self) -> int:
        return self.site.activations + self.site.logits

    @property
    def at_loss(self) -> bool:
        return self.site.logits > 0 and self.site.name in ("forward_end", "loss_backward")


def fragmentation(reserves: Sequence[Reserve], spread: float, room: int) -> Fragmentation:
    """Reserved minus allocated at the peak. ``spread``: longest over median micro batch; ``room``: what the card has for torch.

    The growth that varying lengths bring stops at the card: the allocator then gives cached blocks back.
    """
    tensors = max(reserve.tensors for reserve in reserves)
    found: list[int] = []
    for index in range(3):
        fixed = max(_reserved(reserve, reserves, index, 1.0) for reserve in reserves)
        varying = fixed
        if spread > 1.0:
            varying = max(_reserved(reserve, reserves, index, _growth(reserve, spread, index)) for reserve in reserves)
        found.append(max(fixed, min(varying, max(room, fixed))) - tensors)
    return Fragmentation(*found)


def _reserved(reserve: Reserve, reserves: Sequence[Reserve], index: int, growth: float) -> int:
    if reserve.site.name != "optimizer_step":
        fixed = _cached(reserve, index)
        return reserve.tensors + fixed + _grown(reserve, fixed, growth)
    largest = max(reserves, key=lambda other: other.movable)
    leftover = int(OPTIMIZER_LEFTOVER[index] * largest.movable)
    if growth == 1.0:
        return reserve.tensors + leftover
    cached = largest.movable + _cached(largest, index)
    cached += _grown(largest, _cached(largest, index), growth)
    return reserve.tensors + max(leftover, cached - reserve.step_temporary)


def _grown(reserve: Reserve, cached: int, growth: float) -> int:
    excess = int((growth - 1.0) * (_growing(reserve) + cached))
    return excess - min(reserve.late, int(SETTLES * excess))


def _growing(reserve: Reserve) -> int:
    """The bytes that varying lengths multiply: few large blocks. Many equal ones of every layer find room in each other's."""
    if reserve.at_loss:
        return reserve.site.logits
    return reserve.movable if reserve.checkpointing else 0


def _cached(reserve: Reserve, index: int) -> int:
    if not reserve.checkpointing:
        return max(reserve.loss_cached, int(SHARE_KEPT[index] * reserve.movable))
    return max(reserve.loss_cached, int(SHARE[index] * reserve.movable))


def _growth(reserve: Reserve, spread: float, index: int) -> float:
    table = LOGITS_DECIDE if reserve.at_loss or reserve.site.name == "optimizer_step" else LAYERS_DECIDE
    above = min(max(1, bisect_left(SPREADS, spread)), len(SPREADS) - 1)
    low, high = SPREADS[above - 1], SPREADS[above]
    part = min(1.0, max(0.0, (spread - low) / (high - low)))
    return table[above - 1][index] * (1 - part) + table[above][index] * part
