"""The blocks that lie cached at the peak of a step, by replaying the step's large tensors. Replays are remembered."""

from dataclasses import dataclass, replace
from functools import lru_cache

from tunescope.memory.allocator import CachingAllocator
from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.persistent import Persistent
from tunescope.memory.sharding import Share
from tunescope.memory.sites import FUSED_TILE_TOKENS, FUSED_TILE_VOCAB, Workload, layer_settings, loss_path_of
from tunescope.memory.stack import Stack
from tunescope.memory.step_sequence import Head, StepSequence, Update
from tunescope.spec import JobSpec

LENGTHS = (512, 2048, 4096, 8192, 16_384, 32_768, 131_072, 524_288, 2_097_152)
"""Tokens of a row. Replays are made for these and interpolated between: what is cached is nearly in proportion to them."""


@dataclass(frozen=True)
class _Job:
    """All that decides what a step asks the allocator for, but the length of the rows."""

    architecture: Architecture
    settings: LayerSettings
    head: Head
    update: Update


def cached_blocks(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent, held: Share
) -> int:
    """Bytes cached beside the peak of this job on a card with room. More tokens never give less.

    Where gradients and states settle among cached blocks a longer row may by luck leave fewer; no job should count on it.
    """
    update = _update(spec, persistent, held)
    settings = layer_settings(spec, architecture, work, stack, persistent)
    job = _Job(architecture, _essential(settings), _head(spec, architecture, work.batch, stack), update)
    if not update.states:
        return _in_proportion(job, work)
    below, found, lower, length = 0, 0, 0, 0
    for index, upper in enumerate(LENGTHS):
        lower, length, below = length, upper, found
        found = max(found, _replayed(job, upper))
        if index == 0:
            below = found
        if upper >= work.sequence:
            break
    return below + (found - below) * (work.sequence - lower) // (length - lower)


def _in_proportion(job: _Job, work: Workload) -> int:
    """Where nothing large trains all that is replayed grows with the tokens; under eager attention with the row as well."""
    length = next((length for length in LENGTHS if length >= work.sequence), LENGTHS[-1])
    return _replayed(job, length) * work.sequence // length


def _essential(settings: LayerSettings) -> LayerSettings:
    """Without what a replay does not look at, so that jobs share theirs."""
    settings = replace(settings, tokens=0, sequence=0, nested=False)
    if settings.full:
        return replace(settings, targets=frozenset(), adapter=0)
    return replace(settings, accumulates=False)


@lru_cache(maxsize=8192)
def _replayed(job: _Job, length: int) -> int:
    settings = replace(job.settings, sequence=length, tokens=job.settings.batch * length)
    changes = StepSequence(job.architecture, settings, job.head, job.update).changes()
    allocator = CachingAllocator().run(changes)
    return allocator.reserved_peak - allocator.active_peak


def _head(spec: JobSpec, architecture: Architecture, batch: int, stack: Stack) -> Head:
    return Head(
        loss_path_of(spec, architecture, stack), architecture.vocab, batch,
        tile=(FUSED_TILE_TOKENS, FUSED_TILE_VOCAB) if spec.memory_savers.fused_loss else None,
        trains=spec.adaptation.method == "full", tied=architecture.tied,
    )  # fmt: skip


def _update(spec: JobSpec, persistent: Persistent, held: Share) -> Update:
    """Beside adapters two tables may train; where their few states settle is chance, so they are left out."""
    if spec.adaptation.method != "full" or spec.parallelism.strategy not in ("none", "ddp"):
        return Update(keeps_gradients=False)
    each = held.optimizer_states / persistent.gradients / 2
    return Update((each, each) if each > 0.05 else (), round(held.step_temporary / persistent.gradients))
