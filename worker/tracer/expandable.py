"""The caching allocator with ``expandable_segments:True``: one range of addresses a pool, mapped page by page.

Rules from ``c10/cuda/CUDACachingAllocator.cpp`` (``try_allocate_expandable_block``, ``map_block``, ``unmap_block``,
``get_free_block``): pages of 2 MiB (small) or 20 MiB (large); blocks split down to 512 bytes; a block beside unmapped
addresses counts as large as it can grow, so others are preferred; at the limit the whole pages of free blocks are unmapped.
"""

from tunescope.memory.allocator import (
    LARGE_SEGMENT,
    MINIMUM_BLOCK,
    SMALL_SEGMENT,
    Block,
    CachingAllocator,
    Pool,
)

ADDRESS_SPACE = 1 << 60
"""Bytes of addresses of one range: never the limit."""
PAGES: dict[Pool, int] = {"small": SMALL_SEGMENT, "large": LARGE_SEGMENT}


class ExpandableAllocator(CachingAllocator):
    """Expandable segments. ``limit``: bytes that may be reserved (mapped); ``None`` is a card with room."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(limit)
        self._first: dict[Pool, Block] = {
            pool: Block(0, ADDRESS_SPACE, pool, mapped=False) for pool in ("small", "large")
        }

    def release_cached(self) -> None:
        for pool, blocks in self._free.items():
            for block in blocks:
                self._unmap(block, PAGES[pool])

    def _must_split(self, block: Block, wanted: int) -> bool:
        return block.size - wanted >= MINIMUM_BLOCK

    def _take_fit(self, pool: Pool, wanted: int) -> Block | None:
        best: Block | None = None
        for block in self._free[pool].at_least(wanted):
            if best is not None and _can_grow_to(block) >= _can_grow_to(best):
                break
            best = block
        if best is not None:
            self._free[pool].remove(best)
        return best

    def _grow(self, pool: Pool, wanted: int) -> Block:
        page = PAGES[pool]
        start = self._space_for(pool, wanted)
        if not self._has_room(self._missing(start, wanted, page)):
            # What is given back may lie where the block would have gone.
            self.retries += 1
            self.release_cached()
            start = self._space_for(pool, wanted)
            missing = self._missing(start, wanted, page)
            if not self._has_room(missing):
                self._retry(missing)
        return self._map(start, wanted, page)

    def _space_for(self, pool: Pool, wanted: int) -> Block:
        """The first unmapped addresses, with a free block just before them, that offer ``wanted`` bytes in a row."""
        block: Block | None = self._first[pool]
        while block is not None:
            if not block.mapped:
                before = block.before
                start = before if before is not None and before.free else block
                if _room_from(start, wanted) >= wanted:
                    return start
            block = block.after
        raise AssertionError("the range of addresses has no end")

    def _missing(self, start: Block, wanted: int, page: int) -> int:
        """Bytes to map so that ``wanted`` can start at ``start``."""
        missing, block, left = 0, start, wanted
        while left > 0:
            if not block.mapped:
                missing += min(block.size, (left + page - 1) // page * page)
            left -= block.size
            if block.after is None:
                break
            block = block.after
        return missing

    def _map(self, start: Block, wanted: int, page: int) -> Block:
        """Make ``start`` one mapped block of at least ``wanted`` bytes, out of every list."""
        if start.mapped:
            self._free[start.pool].remove(start)
        else:
            self._map_front(start, wanted, page)
        while start.size < wanted:
            following = start.after
            assert following is not None
            if following.mapped:
                self._free[start.pool].remove(following)
            else:
                self._map_front(following, wanted - start.size, page)
            start.absorb_next()
        return start

    def _map_front(self, block: Block, wanted: int, page: int) -> None:
        size = min(block.size, (wanted + page - 1) // page * page)
        if size < block.size:
            block.cut(size)
        block.mapped = True
        self.reserved += size

    def _unmap(self, block: Block, page: int) -> None:
        begin = (block.address + page - 1) // page * page
        end = (block.address + block.size) // page * page
        if end <= begin:
            return
        self._free[block.pool].remove(block)
        middle = block
        if begin > block.address:
            middle = block.cut(begin - block.address)
            self._free[block.pool].add(block)
        if end < middle.address + middle.size:
            self._free[block.pool].add(middle.cut(end - middle.address))
        middle.mapped = False
        self.reserved -= middle.size
        if middle.after is not None and not middle.after.mapped:
            middle.absorb_next()
        if middle.before is not None and not middle.before.mapped:
            middle.before.absorb_next()


def _can_grow_to(block: Block) -> int:
    """Bytes of a free block together with the unmapped addresses right after it."""
    return block.size + (block.after.size if block.after is not None and not block.after.mapped else 0)


def _room_from(block: Block | None, wanted: int) -> int:
    """Bytes in a row from ``block`` on that are free or unmapped, as far as needed."""
    room = 0
    while block is not None and room < wanted and block.free:
        room += block.size
        block = block.after
    return room
