"""The blocks that lie cached at the peak of a step, by replaying the step's large tensors. Replays are remembered.

Every length is replayed as it is: copies of the logits that differ by one token, or a gradient that just fits into a block or does
not, make gigabytes of difference between neighbours, and round lengths are the luckiest.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import log2

from tunescope.memory.allocator import OutOfMemory
from tunescope.memory.architecture import Architecture
from tunescope.memory.head_step import FUSED_TILE_TOKENS, FUSED_TILE_VOCAB, loss_path_of
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.native_allocator import UNIT, NativeAllocator
from tunescope.memory.persistent import Persistent
from tunescope.memory.sharding import Share
from tunescope.memory.stack import Stack
from tunescope.memory.step_sequence import Gradient, Head, StepSequence, Update
from tunescope.memory.step_settings import layer_settings
from tunescope.memory.workload import Workload
from tunescope.spec import JobSpec

SETTLING_STEPS = 6
"""After so many steps that each gave blocks back it is expected to go on, and the card to be full time and again."""


EXPERT_PARTS = 8
"""Parts of a layer's experts that are followed where each expert runs alone: with more, replays of mixtures that keep all of them take
seconds, and totals differ by 1 % either way."""


@dataclass(frozen=True)
class _Job:
    """All that decides what a step asks the allocator for, but the number and length of its rows."""

    architecture: Architecture
    settings: LayerSettings
    head: Head
    update: Update
    expandable: bool
    """Whether the allocator's segments can grow."""

    def steps(self, rows: int, length: int) -> StepSequence:
        settings = replace(self.settings, sequence=length, batch=rows, tokens=rows * length)
        return StepSequence(self.architecture, settings, self.head, self.update)


@dataclass(frozen=True)
class CachedBlocks:
    """Blocks that lie cached beside the peak of one job's step. Replayed when asked for: a first time takes milliseconds."""

    job: _Job
    work: Workload

    @property
    def roomy(self) -> int:
        """Bytes of them on a card with room, where every step has rows of this very length."""
        return _roomy(self.job, *self._divided).cached

    @property
    def among_others(self) -> int:
        """The same where this is the longest length of many, less what comes of many: without the luck of a single length.

        A power of the length between two powers of two, which fill whole pages, as the one does that the tables of varying
        lengths start from.
        """
        rows, length = self._divided
        below = 1 << (length.bit_length() - 1)
        low = _roomy(self.job, rows, below).cached
        if length == below:
            return low
        high, part = _roomy(self.job, rows, 2 * below).cached, log2(length / below)
        return round(low ** (1 - part) * high**part) if low and high else round(low + (high - low) * part)

    @property
    def _divided(self) -> tuple[int, int]:
        """(rows, length) of a micro batch. Only eager attention asks for tensors that depend on how tokens are divided into rows."""
        work = self.work
        return (work.batch, work.sequence) if self.job.settings.attention == "eager" else (1, work.tokens)

    def steps(self) -> StepSequence:
        """The steps that are replayed."""
        return self.job.steps(*self._divided)

    @property
    def follows_all(self) -> bool:
        """Whether replays hold all tensors that settle among the cached blocks, so that they can tell what a limit does.

        Beside adapters the many small ones decide it, which are not followed: full training on one GPU only. Segments that can
        expand give back single pages, so that hardly anything lies cached at a limit.
        """
        return self.in_full and not self.expandable

    @property
    def in_full(self) -> bool:
        """Whether every weight trains, on one GPU."""
        return self.job.update.keeps_gradients

    @property
    def expandable(self) -> bool:
        """Whether segments can grow, which leaves few blocks unused."""
        return self.job.expandable

    def within(self, part: float) -> int | None:
        """Bytes of them where the card has only ``part`` of the room for them; None where a step then runs out of memory.

        At the limit what is free goes back to the driver, and less is cached from then on (``CUDACachingAllocator.cpp``
        ``release_cached_blocks``).
        """
        return _within(self.job, *self._divided, part)


def cached_blocks(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent, held: Share
) -> CachedBlocks:
    """What is cached beside the peak of this job."""
    settings = layer_settings(spec, architecture, work, stack, persistent)
    job = _Job(
        architecture, _essential(settings), _head(spec, architecture, work, stack), _update(spec, persistent, held),
        spec.memory_savers.expandable_segments,
    )  # fmt: skip
    return CachedBlocks(job, work)


@dataclass(frozen=True)
class _Replayed:
    cached: int
    """Bytes that lie cached beside the peak."""
    peak: int
    """Units in use at the peak."""


@dataclass(frozen=True)
class _Begun:
    """Steps after their first micro batch on a card with room, to go on from there on any card."""

    steps: StepSequence
    memory: NativeAllocator
    gradients: list[Gradient]


@lru_cache(maxsize=4)
def _begun(job: _Job, rows: int, length: int) -> _Begun:
    steps, memory = job.steps(rows, length), NativeAllocator(expandable=job.expandable)
    return _Begun(steps, memory, steps.first_micro_batch(memory))


@lru_cache(maxsize=8192)
def _roomy(job: _Job, rows: int, length: int) -> _Replayed:
    """What the steps of ``StepSequence.run`` leave."""
    begun = _begun(job, rows, length)
    memory = begun.memory.fork()
    begun.steps.run_again(memory, begun.steps.first_update(memory, begun.gradients))
    return _Replayed((memory.reserved - memory.active_peak) * UNIT, memory.active_peak)


@lru_cache(maxsize=1024)
def _within(job: _Job, rows: int, length: int, part: float) -> int | None:
    """Bytes that stay cached where ``part`` of what a card with room caches is the limit; None where a step runs out of memory."""
    roomy, begun = _roomy(job, rows, length), _begun(job, rows, length)
    room = int(part * roomy.cached)
    limit, steps = roomy.peak + room // UNIT, begun.steps
    try:
        if begun.memory.reserved <= limit:
            limited, gradients = begun.memory.fork(limit), begun.gradients
        else:
            limited = NativeAllocator(limit)
            gradients = steps.first_micro_batch(limited)
        left = steps.first_update(limited, gradients)
        for _ in range(SETTLING_STEPS):
            before = limited.retries, limited.reserved
            left = steps.run_again(limited, left)
            if (limited.retries, limited.reserved) == before:
                return max(0, limited.reserved - roomy.peak) * UNIT
    except OutOfMemory:
        return None
    return room


def _essential(settings: LayerSettings) -> LayerSettings:
    """Without what a replay does not look at, so that jobs share theirs."""
    runs = min(settings.expert_runs, EXPERT_PARTS)
    settings = replace(settings, tokens=0, sequence=0, batch=0, nested=False, expert_runs=runs)
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
