"""What the caching allocator reserves beyond what is allocated at the peak. The least certain term.

With batches of one length the large tensors of a step are replayed through a model of the allocator, in the order in
which they are asked for. With varying lengths every batch longer than all before it finds its large blocks too small, and
the old ones stay cached beside the new: a table of such replays says how much.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tunescope.memory.sites import Site

UNFOLLOWED = (0.95, 1.07, 1.6)
"""(low, expected, high) of what whole traces reserve over what their large tensors alone do: 10, 50 and 90 % of 119 of them
(``python -m benchmarks.replayed_fragmentation``)."""
OPTIMIZER_LEFTOVER = (0.1, 0.57, 1.0)
"""Under a sharded optimizer's step, this share of the cached activations serves neither gradients nor temporaries."""

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
    """One site as the allocator sees it: all live tensors, and those of them that come and go."""

    site: Site
    tensors: int
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


def fragmentation(reserves: Sequence[Reserve], cached: int, spread: float, room: int, sharded: bool = False) -> Fragmentation:
    """Reserved minus allocated at the peak. ``cached``: blocks beside the peak where all lengths are alike; ``spread``:
    longest over median micro batch; ``room``: what the card has for torch.

    What is cached stops at the card: the allocator then gives free blocks back.
    """
    tensors = max(reserve.tensors for reserve in reserves)
    found: list[int] = []
    for index in range(3):
        bytes_reserved = _fixed(reserves, cached, index, sharded)
        if spread > 1.0:
            grown = (_varying(reserve, reserves, cached, spread, index) for reserve in reserves)
            bytes_reserved = max(bytes_reserved, *grown)
        found.append(min(bytes_reserved, max(room, tensors)) - tensors)
    return Fragmentation(*found)


def _fixed(reserves: Sequence[Reserve], cached: int, index: int, sharded: bool) -> int:
    highest = max(reserves, key=lambda reserve: reserve.tensors)
    if not sharded or highest.site.name != "optimizer_step":
        return highest.tensors + int(UNFOLLOWED[index] * cached)
    return highest.tensors + int(OPTIMIZER_LEFTOVER[index] * max(reserve.movable for reserve in reserves))


def _varying(reserve: Reserve, reserves: Sequence[Reserve], cached: int, spread: float, index: int) -> int:
    if reserve.site.name != "optimizer_step":
        return reserve.tensors + cached + _grown(reserve, cached, _growth(reserve, spread, index))
    largest = max(reserves, key=lambda other: other.movable)
    forward = largest.movable + cached + _grown(largest, cached, _growth(reserve, spread, index))
    leftover = int(OPTIMIZER_LEFTOVER[index] * largest.movable)
    return reserve.tensors + max(leftover, forward - reserve.step_temporary)


def _grown(reserve: Reserve, cached: int, growth: float) -> int:
    excess = int((growth - 1.0) * (_growing(reserve) + cached))
    return excess - min(reserve.late, int(SETTLES * excess))


def _growing(reserve: Reserve) -> int:
    """The bytes that varying lengths multiply: few large blocks. Many equal ones of every layer find room in each other's."""
    if reserve.at_loss:
        return reserve.site.logits
    return reserve.movable if reserve.checkpointing else 0


def _growth(reserve: Reserve, spread: float, index: int) -> float:
    table = LOGITS_DECIDE if reserve.at_loss or reserve.site.name == "optimizer_step" else LAYERS_DECIDE
    above = min(max(1, bisect_left(SPREADS, spread)), len(SPREADS) - 1)
    low, high = SPREADS[above - 1], SPREADS[above]
    part = min(1.0, max(0.0, (spread - low) / (high - low)))
    return table[above - 1][index] * (1 - part) + table[above][index] * part
