"""Replay of a step through the allocator: active peak, reserved peak, and the smallest budget that runs."""

from collections.abc import Sequence

from tunescope.memory.allocator import CachingAllocator, Change, OutOfMemory, rounded
from tunescope.memory.trace import Replay
from tunescope.units import MIB
from worker.tracer.expandable import ExpandableAllocator

PAGE = 2 * MIB
"""The driver hands out nothing finer."""
PRECISION = 512
"""The smallest budget is told to one part in so many (or to a page): each halving is one more replay."""


def allocator(expandable: bool, limit: int | None = None) -> CachingAllocator:
    return ExpandableAllocator(limit) if expandable else CachingAllocator(limit)


def runs_within(changes: Sequence[Change], limit: int, expandable: bool = False) -> bool:
    """Whether the changes go through with at most ``limit`` bytes reserved."""
    try:
        allocator(expandable, limit).run(changes)
    except OutOfMemory:
        return False
    return True


def smallest_budget(changes: Sequence[Change], expandable: bool = False) -> int:
    """The least reserved bytes with which the changes still run, by bisection between what is asked for and the roomy peak."""
    roomy = allocator(expandable).run(changes)
    low, high = highest_requested(changes) // PAGE - 1, -(-roomy.reserved_peak // PAGE)
    while high - low > max(1, high // PRECISION):
        middle = (low + high) // 2
        if runs_within(changes, middle * PAGE, expandable):
            high = middle
        else:
            low = middle
    return high * PAGE


def highest_requested(changes: Sequence[Change]) -> int:
    """Highest bytes asked for at once: no allocator needs less."""
    live = peak = 0
    for uid, size in changes:
        live += rounded(size) if uid > 0 else -rounded(size)
        peak = max(peak, live)
    return peak


def replayed(run: Sequence[Change], again: Sequence[Change], expandable: bool = False) -> Replay:
    """The three answers to "how much": ``run`` is the load and the first steps, ``again`` one more step, for the peaks.

    The budget is that of ``run``: a step more changes what is cached, not what must be live.
    """
    roomy = allocator(expandable).run(run).run(again)
    return Replay(
        expandable_segments=expandable,
        active_peak_bytes=roomy.active_peak,
        reserved_peak_bytes=roomy.reserved_peak,
        smallest_budget_bytes=smallest_budget(run, expandable),
    )
