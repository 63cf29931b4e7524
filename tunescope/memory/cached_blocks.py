"""The blocks that lie cached at the peak of a step, by replaying the step's large tensors. Replays are remembered."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log

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


@dataclass(frozen=True)
class _Job:
    """All that decides what a step asks the allocator for, but the number and length of its rows."""

    architecture: Architecture
    settings: LayerSettings
    head: Head
    update: Update


def cached_blocks(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent, held: Share
) -> Callable[[], int]:
    """Bytes cached beside the peak of this job on a card with room. Replayed when asked for: a first time takes milliseconds.

    Only eager attention asks for tensors that depend on how tokens are divided into rows.
    """
    settings = layer_settings(spec, architecture, work, stack, persistent)
    job = _Job(
        architecture, _essential(settings), _head(spec, architecture, work, stack), _update(spec, persistent, held)
    )

    def replayed() -> int:
        if job.settings.attention != "eager":
            return round(_at_length(job, 0, work.tokens))
        return round(_between(ROWS, work.batch, lambda rows: _at_length(job, rows, work.sequence)))

    return replayed


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
    """What is cached at a point of the grid, where no less is reserved than at the one with shorter or fewer rows.

    Where gradients and states settle among cached blocks a longer row may by luck reserve less; no job should count on it.
    """
    reserved, active = _replayed(job, rows, length)
    if length and job.update.keeps_gradients:
        reserved = max(reserved, _replayed(job, rows, length - 1)[0])
    if rows:
        reserved = max(reserved, _replayed(job, rows - 1, length)[0])
    return reserved - active


@lru_cache(maxsize=8192)
def _replayed(job: _Job, rows: int, length: int) -> tuple[int, int]:
    """(reserved, active) bytes at their peaks."""
    settings = replace(job.settings, sequence=LENGTHS[length], batch=ROWS[rows], tokens=ROWS[rows] * LENGTHS[length])
    allocator = NativeAllocator()
    StepSequence(job.architecture, settings, job.head, job.update).run(allocator)
    return allocator.reserved * UNIT, allocator.active_peak * UNIT


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
