"""What the caching allocator reserves beyond what is allocated at the peak. The least certain term.

With batches of one length the large tensors of a step are replayed through a model of the allocator, in the order in
which they are asked for. With varying lengths every batch longer than all before it finds its large blocks too small, and
the old ones stay cached beside the new: a table of such replays says how much.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tunescope.memory.cached_blocks import CachedBlocks
from tunescope.memory.sites import Site
from tunescope.spec import Strategy

UNFOLLOWED_IN_FULL = (0.95, 1.06, 1.52)
"""(low, expected, high) of what whole traces cache over what the replay of their large tensors does: 10 and 90 % of 54 full
fine-tunes, and near their median (1.08) what errs least in bytes (``python -m benchmarks.replayed_fragmentation``)."""
UNFOLLOWED = (0.79, 1.03, 1.29)
"""10, 50 and 90 % of 126 runs with adapters, whose gradients and optimizer states are not replayed."""
EXPANDABLE = (0.73, 1.0, 1.31)
"""The same with segments that can expand. In full training, where next to nothing lies cached in most runs, their ratios say
little (1.0, 1.56, 7.1), and ``UNFOLLOWED_IN_FULL`` comes closer in bytes: 0.9 % of what is reserved in the mean."""
OPTIMIZER_LEFTOVER = (0.1, 0.57, 1.0)
"""At the optimizer's step under varying lengths or FSDP, this share of the cached activations serves neither gradients nor
temporaries: replays of full fine-tuning."""
ZERO_LEFTOVER = (0.6, 1.0, 1.0)
"""The same under DeepSpeed: a sub-group's gradients are single blocks of 2 and 4 GB (``stage3.py``), larger than any activation."""

SETTLES = 0.42
"""Share of what varying lengths add that Adam's states and the gradients, made after it, settle in: replays of full
fine-tuning with coarse steps."""
SPREADS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
"""Longest micro batch over the median one."""
LOGITS_DECIDE = (
    (1.0, 1.0, 1.0), (1.00, 2.30, 4.14), (1.66, 2.71, 3.94), (1.64, 2.80, 3.99), (1.68, 2.50, 3.43), (1.50, 2.13, 2.73),
    (1.23, 1.59, 1.92), (1.00, 1.15, 1.43),
)  # fmt: skip
"""(10, 50, 90 %) of bytes reserved for activations over those of the longest length alone, native allocator, after 48 micro
batches: ``python -m benchmarks.varying_lengths``. With expandable segments it is 1.0 throughout."""
LAYERS_DECIDE = (
    (1.0, 1.0, 1.0), (1.06, 1.82, 2.83), (1.49, 1.90, 2.58), (1.41, 1.85, 2.54), (1.36, 1.72, 2.19), (1.17, 1.44, 1.77),
    (1.00, 1.08, 1.32), (1.00, 1.00, 1.02),
)  # fmt: skip
ALL_IS_KEPT = (
    (1.0, 1.0, 1.0), (1.0, 1.0, 1.90), (1.0, 1.11, 1.90), (1.0, 1.17, 1.91), (1.0, 1.30, 1.69), (1.0, 1.10, 1.51),
    (1.0, 1.0, 1.31), (1.0, 1.0, 1.08),
)  # fmt: skip
"""Without gradient checkpointing: none, 10 and 90 % of the same replays, as measured runs lie near the lower end."""


@dataclass(frozen=True)
class Fragmentation:
    low: int
    expected: int
    high: int
    settled: int | None = None
    """What is left of ``expected`` on a card that it fills, once the allocator has given blocks back; None where that is not known."""
    runs_out: bool = False
    """Whether a step is known to run out of memory on this card, with or without tensors that alone would fit."""
    shrinks: bool = False
    """Whether the card is full, and what is cached gives way to tensors page by page."""


@dataclass(frozen=True)
class Reserve:
    """One site as the allocator sees it: all live tensors, and those of them that come and go."""

    site: Site
    tensors: int
    step_temporary: int = 0
    checkpointing: bool = True
    late: int = 0
    """Bytes of gradients and optimizer states: made after the first passes, in blocks those left."""
    small: int = 0
    """Bytes of blocks for small tensors that lie cached then: nothing larger is served from them."""

    @property
    def movable(self) -> int:
        return self.site.activations + self.site.logits

    @property
    def at_loss(self) -> bool:
        return self.site.logits > 0 and self.site.name in ("forward_end", "loss_backward")


def fragmentation(
    reserves: Sequence[Reserve], blocks: CachedBlocks, spread: float, room: int, strategy: Strategy = "none"
) -> Fragmentation:
    """Reserved minus allocated at the peak. ``blocks`` are cached beside it where all lengths are alike; ``spread``: longest over
    median micro batch; ``room``: what the card has for torch.

    What is cached stops at the card: the allocator then gives free blocks back, which is not always enough.
    """
    if blocks.expandable:
        # Any free addresses serve any length, and what activations leave serves gradients and temporaries.
        spread, strategy = 1.0, "none"
    tensors = max(reserve.tensors for reserve in reserves)
    followed = spread == 1.0 and blocks.follows_all
    if tensors >= room and not followed:
        return Fragmentation(0, 0, 0)
    cached, ratios = blocks.roomy if spread == 1.0 else blocks.among_others, unfollowed(blocks)
    found: list[int] = []
    for index in range(3):
        bytes_reserved = _fixed(reserves, int(ratios[index] * cached), index, strategy)
        if spread > 1.0:
            grown = (_varying(reserve, reserves, cached, spread, index) for reserve in reserves)
            bytes_reserved = max(bytes_reserved, *grown)
        found.append(bytes_reserved - tensors)
    return _on_the_card(found, max(0, room - tensors), blocks, followed)


def _on_the_card(found: Sequence[int], room: int, blocks: CachedBlocks, followed: bool) -> Fragmentation:
    """Stop (low, expected, high) at the ``room`` beside the tensors; ``blocks`` tells what that leads to, where it is ``followed``."""
    low, expected, high = (min(cached, room) for cached in found)
    if found[1] > room and blocks.expandable:
        # Single pages go back to the driver: traces run with 0.3 to 3 % beside the tensors.
        return Fragmentation(0, expected, high, shrinks=True)
    if not followed or found[1] <= room:
        return Fragmentation(low, expected, high)
    left = blocks.within(room / found[1]) if room else None
    if left is None:
        return Fragmentation(low, found[1], found[2], runs_out=True)
    return Fragmentation(min(low, left), expected, high, settled=min(round(unfollowed(blocks)[1] * left), room))


def unfollowed(blocks: CachedBlocks) -> tuple[float, float, float]:
    """(low, expected, high) of what is cached over what the replay tells."""
    if blocks.in_full:
        return UNFOLLOWED_IN_FULL
    return EXPANDABLE if blocks.expandable else UNFOLLOWED


def _fixed(reserves: Sequence[Reserve], share: int, index: int, strategy: Strategy) -> int:
    activations = share + max(reserve.movable for reserve in reserves)
    if strategy in ("none", "ddp"):
        return share + max(reserve.tensors + reserve.small for reserve in reserves)
    leftover = int((OPTIMIZER_LEFTOVER if strategy == "fsdp" else ZERO_LEFTOVER)[index] * activations)
    return max(reserve.tensors + (leftover if reserve.site.name == "optimizer_step" else share) for reserve in reserves)


def _varying(reserve: Reserve, reserves: Sequence[Reserve], cached: int, spread: float, index: int) -> int:
    if reserve.site.name != "optimizer_step":
        return reserve.tensors + reserve.small + cached + _grown(reserve, cached, spread, index)
    largest = max(reserves, key=lambda other: other.movable)
    forward = largest.movable + cached + _grown(largest, cached, spread, index)
    leftover = int(OPTIMIZER_LEFTOVER[index] * largest.movable)
    return reserve.tensors + max(leftover, forward - reserve.step_temporary)


def _grown(reserve: Reserve, cached: int, spread: float, index: int) -> int:
    """What varying lengths add to the blocks of a site's activations."""
    excess = int((_growth(reserve, spread, index) - 1.0) * (reserve.movable + cached))
    return excess - min(reserve.late, int(SETTLES * excess))


def _growth(reserve: Reserve, spread: float, index: int) -> float:
    table = (LOGITS_DECIDE if reserve.at_loss else LAYERS_DECIDE) if reserve.checkpointing else ALL_IS_KEPT
    above = min(max(1, bisect_left(SPREADS, spread)), len(SPREADS) - 1)
    low, high = SPREADS[above - 1], SPREADS[above]
    part = min(1.0, max(0.0, (spread - low) / (high - low)))
    return table[above - 1][index] * (1 - part) + table[above][index] * part
