"""The caching allocator in small integers, for replays while someone types: ``CachingAllocator`` in a quarter of the time.

A block is its address, and segments lie apart, so that neighbours in one segment are told by their addresses alone. Sizes
and addresses count units of 512 bytes, which Python adds and looks up faster than bytes. Where segments can expand, a pool is
one free block without end, which the best fit takes last. A test holds that both answer alike.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from copy import copy
from functools import lru_cache

from tunescope.memory.allocator import (
    LARGE_SEGMENT,
    MINIMUM_BLOCK,
    SMALL_SEGMENT,
    SMALL_SIZE,
    OutOfMemory,
    segment_bytes,
)

UNIT = MINIMUM_BLOCK
SMALL = SMALL_SIZE // UNIT
ENDLESS = 1 << 100
"""A free block of more units is the end of a range that can expand. No request is as large, however absurd a spec is."""


def units(size: int) -> int:
    """Units of a block for a request of ``size`` bytes."""
    return -(-size // UNIT) or 1


@lru_cache(maxsize=4096)
def segment_units(wanted: int) -> int:
    """Units asked of the driver for a block of ``wanted`` that no free block can serve: the few sizes of a model come again and again."""
    return segment_bytes(wanted * UNIT) // UNIT


class NativeAllocator:
    """What is ``reserved``, and the most that was in use (``active_peak``), in units.

    ``limit``: units that may be reserved; ``None`` is a card with room, the only one that ``expandable`` segments are followed
    on. ``retries``: how often blocks went back to the driver.
    """

    def __init__(self, limit: int | None = None, expandable: bool = False) -> None:
        assert limit is None or not expandable
        self.limit = limit
        self.retries = 0
        self.reserved = self.active = self.active_peak = 0
        self._small: dict[int, list[int]] = {}
        """Addresses of the small pool's free blocks by size, lowest first. A size stays after its last block was taken."""
        self._small_sizes: list[int] = []
        """The sizes in it, sorted."""
        self._large: dict[int, list[int]] = {}
        self._large_sizes: list[int] = []
        self._size: dict[int, int] = {}
        """By address: of blocks in use; of free ones negative."""
        self._before: dict[int, int] = {}
        """By address: the block before it in the same segment."""
        self._segments_end = 0
        """Where the next segment begins."""
        self._kept_whole = SMALL
        """A large block is not split where no more than this would remain."""
        self._mapped = [0, 0]
        """Of the two ranges that can expand, large and small."""
        if expandable:
            self._expand()

    def fork(self, limit: int | None = None) -> "NativeAllocator":
        """Another one that has run as this one has, within ``limit`` as well, and from now on runs apart from it."""
        assert limit is None or self.reserved <= limit
        other = copy(self)
        other.limit = limit
        other._small = {size: fits.copy() for size, fits in self._small.items()}
        other._large = {size: fits.copy() for size, fits in self._large.items()}
        other._small_sizes, other._large_sizes = self._small_sizes.copy(), self._large_sizes.copy()
        other._size, other._before, other._mapped = self._size.copy(), self._before.copy(), self._mapped.copy()
        return other

    def _expand(self) -> None:
        """One range of addresses for each pool, unmapped so far; blocks split down to a unit."""
        self._kept_whole = 0
        for index, (blocks, sizes) in enumerate(((self._large, self._large_sizes), (self._small, self._small_sizes))):
            start = index * 4 * ENDLESS
            blocks[2 * ENDLESS] = [start]
            sizes.append(2 * ENDLESS)
            self._size[start] = -2 * ENDLESS

    def _map(self, end: int) -> None:
        """Whole pages up to ``end``, which stay mapped."""
        small, used = divmod(end, 4 * ENDLESS)
        page = (SMALL_SEGMENT if small else LARGE_SEGMENT) // UNIT
        self._mapped[small] = max(self._mapped[small], -(-used // page) * page)

    def run(self, order: Sequence[int], sizes: Sequence[int], held: list[int]) -> None:
        """Mallocs (ids) and frees (negative ids) of tensors with ``sizes`` in units; ``held`` has their addresses. Raises OutOfMemory.

        Written out in one piece: with a call for each request it takes a quarter longer.
        """
        small, large, size_of, before = self._small, self._large, self._size, self._before
        small_sizes, large_sizes = self._small_sizes, self._large_sizes
        active, peak, kept_whole = self.active, self.active_peak, self._kept_whole
        reserved, segments_end = self.reserved, self._segments_end
        limit = ENDLESS if self.limit is None else self.limit
        for uid in order:
            if uid > 0:
                wanted = sizes[uid]
                blocks = large if wanted > SMALL else small
                fits = blocks.get(wanted)
                if fits:
                    held[uid] = address = fits.pop(0)
                    size_of[address] = wanted
                    active += wanted
                    if active > peak:
                        peak = active
                    continue
                known = large_sizes if wanted > SMALL else small_sizes
                best = bisect_left(known, wanted)
                while best < len(known):
                    size = known[best]
                    fits = blocks[size]
                    if fits:
                        address = fits.pop(0)
                        break
                    del blocks[size], known[best]
                else:
                    address, size = segments_end, segment_units(wanted)
                    segments_end += size + 1
                    if reserved + size > limit:
                        reserved = self._after_making_room(reserved, size)
                    reserved += size
                held[uid] = address
                rest = size - wanted
                if rest == 0 or (rest <= kept_whole and wanted > SMALL):
                    size_of[address] = size
                    active += size
                    if active > peak:
                        peak = active
                    continue
                size_of[address] = wanted
                active += wanted
                if active > peak:
                    peak = active
                if rest > ENDLESS:
                    self._map(address + wanted)
                # What remains is a free block of its own.
                end = address + size
                before[address + wanted] = address
                address += wanted
                size = rest
                if end in before:
                    before[end] = address
            else:
                address = held[-uid]
                size = size_of[address]
                active -= size
                blocks = large if size > SMALL else small
                end = address + size
                after = size_of.get(end, 0)
                if after < 0:
                    del before[end], size_of[end]
                    blocks[-after].remove(end)
                    size -= after
                    end -= after
                    if end in before:
                        before[end] = address
                front = before.get(address)
                if front is not None and size_of[front] < 0:
                    del before[address], size_of[address]
                    blocks[-size_of[front]].remove(front)
                    address = front
                    size = end - address
                    if end in before:
                        before[end] = address
            size_of[address] = -size
            fits = blocks.get(size)
            if fits is None:
                blocks[size] = [address]
                insort(large_sizes if blocks is large else small_sizes, size)
            else:
                insort(fits, address)
        self.active, self.active_peak = active, peak
        self.reserved, self._segments_end = sum(self._mapped) or reserved, segments_end

    def _after_making_room(self, reserved: int, size: int) -> int:
        """What is reserved after free segments went back to the driver, so that there is room for ``size`` more."""
        self.reserved = reserved
        self.release_cached()
        if self.reserved + size > (self.limit or 0):
            active = sum(size for size in self._size.values() if size > 0)
            raise OutOfMemory(size * UNIT, self.reserved * UNIT, active * UNIT)
        return self.reserved

    def release_cached(self) -> None:
        """Give what is wholly free back to the driver."""
        self.retries += 1
        whole = [
            address
            for address, size in self._size.items()
            if size < 0 and address not in self._before and address - size not in self._before
        ]
        for address in whole:
            size = -self._size.pop(address)
            (self._small if size == SMALL_SEGMENT // UNIT else self._large)[size].remove(address)
            self.reserved -= size
