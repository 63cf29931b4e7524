"""A full snapshot of CUDA's caching allocator, for PyTorch's memory viewer (pytorch.org/memory_viz)."""

from pathlib import Path
from typing import Any

import torch

from tunescope.events import ArtifactEvent, LogEvent
from worker.outbox import Outbox
from worker.trainer.artifacts import sha256_of

MOST_EVENTS = 200_000
"""Allocations and releases that the history keeps: the newest ones."""
NEEDS_CUDA = "A snapshot was asked for, but there is none without CUDA: the CPU's allocator keeps no history."

_cuda_memory: Any = torch.cuda.memory
"""PyTorch documents these functions for its memory viewer, underscores and all."""


class Snapshot:
    """History from ``begin`` to ``end``, written as a pickle beside the job's other files."""

    def __init__(self, folder: Path, outbox: Outbox) -> None:
        self._folder, self._outbox = folder, outbox
        self._recording = False

    def begin(self) -> None:
        if not torch.cuda.is_available():
            self._outbox.emit(LogEvent, stream="trainer", line=NEEDS_CUDA)
            return
        # Of Python alone: finding the names of C++ frames when the snapshot is written holds the training up for minutes
        # (pytorch/torchtitan#3628: 461 s for 100,000 entries, 4 s without).
        _cuda_memory._record_memory_history(max_entries=MOST_EVENTS, stacks="python")
        self._recording = True

    def end(self, step: int) -> None:
        if not self._recording:
            return
        self._recording = False
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"memory-step-{step}.pickle"
        _cuda_memory._dump_snapshot(str(file))
        _cuda_memory._record_memory_history(enabled=None)
        self._outbox.emit(ArtifactEvent, name=file.name, bytes=file.stat().st_size, sha256=sha256_of(file))
