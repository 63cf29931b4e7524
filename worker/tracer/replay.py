"""Replay of a step through the allocator: active peak, reserved peak, and the smallest budget that runs."""

from collections.abc import Sequence

from tunescope.memory.trace import Replay
from tunescope.units import MIB
from worker.tracer.allocator import CachingAllocator, Change, OutOfMemory
from worker.tracer.expandable import ExpandableAllocator

RESOLUTION = 2 * MIB
"""Budgets are told to this many bytes: the driver hands out nothing finer."""


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
    """The least reserved bytes with which the changes still run, by bisection up to the roomy peak."""
    roomy = allocator(expandable).run(changes)
    low, high = 0, -(-roomy.reserved_peak // RESOLUTION)
    while high - low > 1:
        middle = (low + high) // 2
        if runs_within(changes, middle * RESOLUTION, expandable):
            high = middle
        else:
            low = middle
    return high * RESOLUTION


def replayed(changes: Sequence[Change], expandable: bool = False) -> Replay:
    """The three answers to "how much" for one stream of changes."""
    roomy = allocator(expandable).run(changes)
    return Replay(
        expandable_segments=expandable,
        active_peak_bytes=roomy.active_peak,
        reserved_peak_bytes=roomy.reserved_peak,
        smallest_budget_bytes=smallest_budget(changes, expandable),
    )
