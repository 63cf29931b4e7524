"""What torch's caching allocator says of itself; only CUDA has one that counts."""

from typing import Any

import torch

from tunescope.events import AllocatorFigures, MemoryFigure


def counters() -> dict[str, Any]:
    """``torch.cuda.memory_stats``: flat names such as ``allocated_bytes.all.peak``."""
    return dict(torch.cuda.memory_stats(0))


def allocated_now() -> int:
    """Bytes of live tensors on the GPU; 0 before CUDA has begun."""
    counted = torch.cuda.memory_stats_as_nested_dict(0)
    return counted["allocated_bytes"]["all"]["current"] if counted else 0


def allocator_figures(stats: dict[str, Any]) -> AllocatorFigures:
    """The counters of one ``torch.cuda.memory_stats`` that a person needs, in bytes.

    ``inactive_split_bytes`` are free pieces of blocks that are partly in use: reserved, but of no use for a larger tensor.
    """
    return AllocatorFigures(
        retries=int(stats.get("num_alloc_retries", 0)),
        out_of_memory=int(stats.get("num_ooms", 0)),
        inactive_split_bytes=int(stats.get("inactive_split_bytes.all.current", 0)),
        reserved_bytes=int(stats.get("reserved_bytes.all.current", 0)),
        allocated_bytes=int(stats.get("allocated_bytes.all.current", 0)),
    )


class AllocatorPeaks:
    """Exact peaks between marks: the allocator keeps one peak, which is read and started anew at each mark."""

    def __init__(self) -> None:
        self.allocated = 0
        self.reserved = 0

    def begin(self) -> None:
        """Start a step."""
        torch.cuda.reset_peak_memory_stats(0)
        self.allocated = self.reserved = 0

    def take(self) -> int:
        """The most bytes that were allocated at once since the last mark.

        The counters are read once and as they come: each of torch's ``memory_allocated``, ``max_memory_allocated`` … flattens
        and sorts all of the two hundred for its one, which takes longer than all else at a mark.
        """
        counted = torch.cuda.memory_stats_as_nested_dict(0)
        allocated, reserved = counted["allocated_bytes"]["all"], counted["reserved_bytes"]["all"]
        self.allocated = max(self.allocated, allocated["peak"])
        self.reserved = max(self.reserved, reserved["peak"])
        torch.cuda.reset_peak_memory_stats(0)
        return allocated["peak"]

    def figures(self, stats: dict[str, Any]) -> list[MemoryFigure]:
        now = allocator_figures(stats)
        return [
            MemoryFigure(source="torch.allocated", bytes=now.allocated_bytes, peak_bytes=self.allocated),
            MemoryFigure(source="torch.reserved", bytes=now.reserved_bytes, peak_bytes=self.reserved),
        ]
