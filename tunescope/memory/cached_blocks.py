"""The blocks that lie cached at the peak of a step, by replaying the step's large tensors. Replays are remembered."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log

from tunescope.memory.allocator import OutOfMemory
from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.native_allocator import UNIT, NativeAllocator
from tunescope.memory.persistent import Persistent
from tunescope.memory.sharding import Share
from tunescope.memory.sites import FUSED_TILE_TOKENS, FUSED_TILE_VOCAB, Workload, layer_settings, loss_path_of
from tunescope.memory.stack import Stack
from tunescope.memory.step_sequence import Head, StepSequence, Update
from tunescope.spec import JobSpec

LENGTHS = (*(2**exponent for exponent in range(9, 16)), *(2**exponent for exponent in range(17, 42, 2)))
"""Tokens that replays are made for; what lies between is interpolated."""
ROWS = tuple(4**exponent for exponent in range(10))
"""The same for rows, where it matters how tokens are divided into them."""
SETTLING_STEPS = 4
"""After so many steps that each gave blocks back it is expected to go on, and the card to be full time and again."""


@dataclass(frozen=True)
class _Job:
    """All that decides what a step asks the allocator for, but the number and length of its rows."""

    architecture: Architecture
    settings: LayerSettings
    head: Head
    update: Update


@dataclass(frozen=True)
class CachedBlocks:
    """Blocks that lie cached beside the peak of one job's step. Replayed when asked for: a first time takes milliseconds."""

    job: _Job
    work: Workload

    @property
    def roomy(self) -> int:
        """Bytes of them on a card with room.

        Only eager attention asks for tensors that depend on how tokens are divided into rows.
        """
        if self.job.settings.attention != "eager":
            return round(_at_length(self.job, 0, self.work.tokens))
        return round(_between(ROWS, self.work.batch, lambda rows: _at_length(self.job, rows, self.work.sequence)))

    @property
    def follows_all(self) -> bool:
        """Whether replays hold all tensors that settle among the cached blocks, so that they can tell what a limit does.

        Beside adapters the many small ones decide it, which are not followed: full training on one GPU only.
        """
        return self.job.update.keeps_gradients

    def within(self, part: float) -> int | None:
        """Bytes of them where the card has only ``part`` of the room for them; None where a step then runs out of memory.

        At the limit what is free goes back to the driver, and less is cached from then on (``CUDACachingAllocator.cpp``
        ``release_cached_blocks``).
        """
        share = _share_within(self.job, self.work.batch, self.work.sequence, part)
        return None if share is None else round(self.roomy * share)


def cached_blocks(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent, held: Share
) -> CachedBlocks:
    """What is cached beside the peak of this job."""
    settings = layer_settings(spec, architecture, work, stack, persistent)
    job = _Job(
        architecture, _essential(settings), _head(spec, architecture, work, stack), _update(spec, persistent, held)
    )
    return CachedBlocks(job, work)


def _between(grid: Sequence[int], number: int, value: Callable[[int], float]) -> float:
    """A power of the number between two points of the grid: exact for what grows with it or with its square."""
    upper = bisect_left(grid, number)
    high = value(upper)
    if upper == 0 or grid[upper] == number or high == 0:
        return high
    low, (below, above) = value(upper - 1), grid[upper - 1 : upper + 1]
    if low == 0:
        return high * (number - below) / (above - below)
    return low * (high / low) ** (log(number / below) / log(above / below))


def _at_length(job: _Job, rows: int, length: int) -> float:
    """Below the first length, what comes with tokens shrinks with them; gradients and states do not."""
    found = _between(LENGTHS, length, lambda index: _at_point(job, rows, index))
    return found if job.update.states else found * min(1.0, length / LENGTHS[0])


def _at_point(job: _Job, rows: int, length: int) -> int:
    """What is cached at a point of the grid, where no less is reserved than at the one with fewer rows of that length."""
    reserved, active = _replayed(job, rows, length)
    if rows:
        reserved = max(reserved, _replayed(job, rows - 1, length)[0])
    return reserved - active


@lru_cache(maxsize=8192)
def _replayed(job: _Job, rows: int, length: int) -> tuple[int, int]:
    """(reserved, active) bytes at their peaks."""
    allocator = NativeAllocator()
    _steps(job, ROWS[rows], LENGTHS[length]).run(allocator)
    return allocator.reserved * UNIT, allocator.active_peak * UNIT


@lru_cache(maxsize=1024)
def _share_within(job: _Job, rows: int, length: int, part: float) -> float | None:
    """What is cached in the end within a limit, of what a card with room caches."""
    roomy = NativeAllocator()
    _steps(job, rows, length, closely=True).run(roomy)
    cached = roomy.reserved - roomy.active_peak
    limited, steps = NativeAllocator(roomy.active_peak + int(part * cached)), _steps(job, rows, length, closely=True)
    try:
        left = steps.run(limited)
        for _ in range(SETTLING_STEPS):
            retries = limited.retries
            left = steps.run_again(limited, left)
            if limited.retries == retries:
                return max(0, limited.reserved - roomy.active_peak) / max(1, cached)
    except OutOfMemory:
        return None
    return part


def _steps(job: _Job, rows: int, length: int, closely: bool = False) -> StepSequence:
    settings = replace(job.settings, sequence=length, batch=rows, tokens=rows * length)
    return StepSequence(job.architecture, settings, job.head, job.update, closely)


def _essential(settings: LayerSettings) -> LayerSettings:
    """Without what a replay does not look at, so that jobs share theirs."""
    settings = replace(settings, tokens=0, sequence=0, batch=0, nested=False)
    if settings.full:
        return replace(settings, targets=frozenset(), adapter=0)
    return replace(settings, accumulates=False)


def _head(spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack) -> Head:
    path = loss_path_of(spec, architecture, stack)
    return Head(
        path, architecture.vocab, work.batch if path.drops_last_tokens else min(work.batch, 2),
        tile=(FUSED_TILE_TOKENS, FUSED_TILE_VOCAB) if spec.memory_savers.fused_loss else None,
        trains=spec.adaptation.method == "full", tied=architecture.tied,
    )  # fmt: skip


def _update(spec: JobSpec, persistent: Persistent, held: Share) -> Update:
    """Beside adapters two tables may train; where their few states settle is chance, so they are left out."""
    if spec.adaptation.method != "full" or spec.parallelism.strategy not in ("none", "ddp"):
        return Update(keeps_gradients=False)
    each = held.optimizer_states / persistent.gradients / 2
    return Update((each, each) if each > 0.05 else (), round(held.step_temporary / persistent.gradients))
