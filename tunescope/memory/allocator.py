"""A model of CUDA's caching allocator: what a stream of mallocs and frees makes it reserve.

Rules from ``c10/cuda/CUDACachingAllocator.cpp`` and ``c10/core/AllocatorConfig.h`` (torch 2.13): sizes are rounded to 512
bytes; up to 1 MiB is served from 2 MiB segments, below 10 MiB from 20 MiB segments, larger from a segment of its own,
rounded to 2 MiB. Best fit, ties by address; a large block is split only if more than 1 MiB remains; free neighbours
merge. At the limit whole free segments go back to the driver and the request is tried once more.
"""

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Self

from tunescope.units import MIB

MINIMUM_BLOCK = 512
SMALL_SIZE = 1 * MIB
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB
OWN_SEGMENT_FROM = 10 * MIB
ROUND_LARGE = 2 * MIB

Pool = Literal["small", "large"]
Change = tuple[int, int]
"""(id, bytes): a malloc; (-id, bytes): its free. Ids start at 1."""


class OutOfMemory(Exception):
    """The limit is too small even after every free segment went back."""

    def __init__(self, wanted: int, reserved: int, active: int) -> None:
        super().__init__(f"{wanted} bytes wanted, {reserved} reserved, {active} active")
        self.wanted, self.reserved, self.active = wanted, reserved, active


@dataclass(slots=True, eq=False)
class Block:
    """A piece of a segment; ``before`` and ``after`` are its neighbours in the same segment."""

    address: int
    size: int
    pool: Pool
    free: bool = True
    mapped: bool = True
    """False: addresses without memory, in a segment that can expand."""
    before: "Block | None" = field(default=None, repr=False)
    after: "Block | None" = field(default=None, repr=False)

    def cut(self, size: int) -> "Block":
        """Keep the first ``size`` bytes; the rest becomes a block of its own."""
        rest = Block(self.address + size, self.size - size, self.pool, True, self.mapped, self, self.after)
        if self.after is not None:
            self.after.before = rest
        self.after, self.size = rest, size
        return rest

    def absorb_next(self) -> None:
        assert self.after is not None
        self.size += self.after.size
        self.after = self.after.after
        if self.after is not None:
            self.after.before = self


class FreeBlocks:
    """Blocks of one pool, smallest first, then by address."""

    def __init__(self) -> None:
        self._sorted: list[tuple[int, int, Block]] = []

    def __iter__(self) -> Iterator[Block]:
        return iter([block for _, _, block in self._sorted])

    def add(self, block: Block) -> None:
        bisect.insort(self._sorted, (block.size, block.address, block))

    def remove(self, block: Block) -> None:
        del self._sorted[bisect.bisect_left(self._sorted, (block.size, block.address))]

    def pop_smallest(self, size: int) -> Block | None:
        """Take the best fit out."""
        index = bisect.bisect_left(self._sorted, (size,))
        return self._sorted.pop(index)[2] if index < len(self._sorted) else None

    def at_least(self, size: int) -> Iterator[Block]:
        """Blocks that are large enough, the best fit first."""
        for index in range(bisect.bisect_left(self._sorted, (size,)), len(self._sorted)):
            yield self._sorted[index][2]


def rounded(size: int) -> int:
    """Bytes of a block for a request of ``size``."""
    return max(MINIMUM_BLOCK, (size + MINIMUM_BLOCK - 1) // MINIMUM_BLOCK * MINIMUM_BLOCK)


def segment_bytes(size: int) -> int:
    """Bytes asked of the driver for a block that no free block can serve."""
    if size <= SMALL_SIZE:
        return SMALL_SEGMENT
    if size < OWN_SEGMENT_FROM:
        return LARGE_SEGMENT
    return (size + ROUND_LARGE - 1) // ROUND_LARGE * ROUND_LARGE


class CachingAllocator:
    """The native allocator. ``limit``: bytes that may be reserved; ``None`` is a card with room.

    ``active`` are the bytes of blocks in use, what ``torch.cuda.memory_allocated`` says; ``requested`` what was asked for,
    rounded to 512: a block may be larger.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.requested = self.active = self.reserved = 0
        self.active_peak = self.reserved_peak = 0
        self.retries = 0
        self._free: dict[Pool, FreeBlocks] = {"small": FreeBlocks(), "large": FreeBlocks()}
        self._used: dict[int, tuple[Block, int]] = {}
        self._next_address = 0

    def run(self, changes: Iterable[Change]) -> Self:
        """Replay a stream of changes. Raises OutOfMemory."""
        for uid, size in changes:
            if uid > 0:
                self.malloc(uid, size)
            else:
                self.free(-uid)
        return self

    def malloc(self, uid: int, size: int) -> None:
        wanted = (size + 511) // 512 * 512 or MINIMUM_BLOCK
        pool: Pool = "small" if wanted <= SMALL_SIZE else "large"
        block = self._take_fit(pool, wanted) or self._grow(pool, wanted)
        if self._must_split(block, wanted):
            self._free[pool].add(block.cut(wanted))
        block.free = False
        self._used[uid] = block, wanted
        self.requested += wanted
        self.active += block.size
        if self.active > self.active_peak:
            self.active_peak = self.active
        if self.reserved > self.reserved_peak:
            self.reserved_peak = self.reserved

    def free(self, uid: int) -> None:
        block, wanted = self._used.pop(uid)
        self.requested -= wanted
        self.active -= block.size
        block.free = True
        self._free[block.pool].add(self._merged(block))

    def release_cached(self) -> None:
        """Give what is wholly free back to the driver, as ``torch.cuda.empty_cache`` does."""
        for blocks in self._free.values():
            for block in blocks:
                if block.before is None and block.after is None:
                    blocks.remove(block)
                    self.reserved -= block.size

    def _take_fit(self, pool: Pool, wanted: int) -> Block | None:
        """The best fit, out of the free blocks."""
        return self._free[pool].pop_smallest(wanted)

    def _grow(self, pool: Pool, wanted: int) -> Block:
        size = segment_bytes(wanted)
        if not self._has_room(size):
            self._retry(size)
        self.reserved += size
        self._next_address += size
        return Block(self._next_address - size, size, pool)

    def _has_room(self, size: int) -> bool:
        return self.limit is None or self.reserved + size <= self.limit

    def _retry(self, size: int) -> None:
        """Give cached memory back, and see whether ``size`` more can be had now."""
        self.retries += 1
        self.release_cached()
        if not self._has_room(size):
            raise OutOfMemory(size, self.reserved, self.active)

    def _must_split(self, block: Block, wanted: int) -> bool:
        rest = block.size - wanted
        return rest >= MINIMUM_BLOCK if block.pool == "small" else rest > SMALL_SIZE

    def _merged(self, block: Block) -> Block:
        """Join a block with its free neighbours (which leave the free list)."""
        after, before = block.after, block.before
        if after is not None and after.free and after.mapped:
            self._free[block.pool].remove(after)
            block.absorb_next()
        if before is not None and before.free and before.mapped:
            self._free[block.pool].remove(before)
            block = before
            block.absorb_next()
        return block
