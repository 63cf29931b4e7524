"""Replay of a step through the allocator: active peak, reserved peak, and the smallest budget that runs."""

from collections.abc import Sequence

from tunescope.memory.allocator import CachingAllocator, Change, OutOfMemory, rounded
from tunescope.memory.native_allocator import UNIT, NativeAllocator, units
from tunescope.memory.trace import Replay
from tunescope.units import MIB
from worker.tracer.expandable import ExpandableAllocator

PAGE = 2 * MIB
"""The driver hands out nothing finer."""
PRECISION = 512
"""The smallest budget is told to one part in so many (or to a page): each halving is one more replay."""


class Stream:
    """Changes as ``NativeAllocator`` takes them, which replays them in a quarter of the time: ids without gaps, sizes in units."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self._sizes = [0]
        self._order: list[int] = []
        numbers: dict[int, int] = {}
        for uid, size in changes:
            if uid > 0:
                numbers[uid] = len(self._sizes)
                self._sizes.append(units(size))
            self._order.append(numbers[uid] if uid > 0 else -numbers[-uid])

    def run(self, expandable: bool = False, limit: int | None = None) -> NativeAllocator:
        """``limit``: bytes that may be reserved. Raises OutOfMemory."""
        allocator = NativeAllocator(limit // UNIT if limit is not None else None, expandable)
        allocator.run(self._order, self._sizes, [0] * len(self._sizes))
        return allocator

    def runs_within(self, limit: int, expandable: bool) -> bool:
        try:
            if expandable:
                # NativeAllocator follows ranges that expand on a card with room only.
                ExpandableAllocator(limit).run(self.changes)
            else:
                self.run(limit=limit)
        except OutOfMemory:
            return False
        return True


def allocator(expandable: bool) -> CachingAllocator:
    return ExpandableAllocator() if expandable else CachingAllocator()


def runs_within(changes: Sequence[Change], limit: int, expandable: bool = False) -> bool:
    """Whether the changes go through with at most ``limit`` bytes reserved."""
    return Stream(changes).runs_within(limit, expandable)


def smallest_budget(changes: Sequence[Change], expandable: bool = False) -> int:
    """The least reserved bytes with which the changes still run, by bisection between what is asked for and the roomy peak."""
    stream = Stream(changes)
    low, high = highest_requested(changes) // PAGE - 1, -(-stream.run(expandable).reserved * UNIT // PAGE)
    while high - low > max(1, high // PRECISION):
        middle = (low + high) // 2
        if stream.runs_within(middle * PAGE, expandable):
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
    roomy = Stream([*run, *again]).run(expandable)
    return Replay(
        expandable_segments=expandable,
        active_peak_bytes=roomy.active_peak * UNIT,
        reserved_peak_bytes=roomy.reserved * UNIT,
        smallest_budget_bytes=smallest_budget(run, expandable),
    )
