"""Meter: measures each step. The trainer says when phases begin; the sampler and the allocator say how high memory went."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from tunescope.events import AllocatorFigures, MemoryFigure, PhaseMemory
from tunescope.memory.trace import Phase
from worker.probes.reading import Bytes, Unknown, figure
from worker.trainer.meter.allocator import AllocatorPeaks, allocated_now, allocator_figures, counters
from worker.trainer.meter.phases import Phases
from worker.trainer.meter.sampler import Sampler
from worker.trainer.meter.sources import KernelPeak, Source, sources
from worker.trainer.meter.stopwatch import CudaStopwatch

HOST, ALLOCATED, RESERVED = "host.rss", "torch.allocated", "torch.reserved"
PROCESS = "nvml.process"


@dataclass(frozen=True)
class StepFigures:
    """What a step took. Named and measured as the fields of StepEvent."""

    seconds: float = 0.0
    tokens: int = 0
    longest_tokens: int | None = None
    memory: list[MemoryFigure] = field(default_factory=list[MemoryFigure])
    phases: list[PhaseMemory] = field(default_factory=list[PhaseMemory])
    meter_seconds: float = 0.0
    allocator: AllocatorFigures | None = None

    def of(self, source: str) -> MemoryFigure:
        """The figure of a source; one that says nothing if there is none."""
        return next((item for item in self.memory if item.source == source), MemoryFigure(source=source))

    def event_fields(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "tokens_per_second": self.tokens / self.seconds if self.seconds else 0.0,
            "step_seconds": self.seconds,
            "memory": self.memory,
            "phases": self.phases,
            "meter_seconds": self.meter_seconds,
            "longest_tokens": self.longest_tokens,
            "allocator": self.allocator,
        }


class Meter:
    """``begin`` a step, ``enter`` its phases, ``add_batch`` each micro batch, ``end`` it."""

    def __init__(self) -> None:
        self._cuda = torch.cuda.is_available()
        self._sources = sources()
        self._phases = Phases(CudaStopwatch() if self._cuda else None)
        self._allocator = AllocatorPeaks() if self._cuda else None
        self._kernel = KernelPeak()
        self._lengths: list[torch.Tensor | list[int]] = []
        self._starts: list[torch.Tensor] = []
        """Of micro batches packed without padding: where rows begin, which is wherever positions start again from 0."""
        self._began = time.perf_counter()
        self._own_seconds = 0.0
        self._sampled_before = 0.0
        self.listeners: list[Callable[[Phase], None]] = []
        """Called at each entry of a phase, after the meter's own marks."""
        allocated = [Source(ALLOCATED, allocated_now)] if self._cuda else []
        self._sampler = Sampler([*self._sources, *allocated], self._phases.heard)
        self._sampler.start()

    @property
    def phase(self) -> Phase:
        return self._phases.phase

    def begin(self, phase: Phase = "data") -> None:
        """A step begins, or a stretch beside the steps: an evaluation, a checkpoint."""
        self._began = time.perf_counter()
        self._lengths.clear()
        self._starts.clear()
        self._own_seconds = 0.0
        self._sampled_before = self._sampler.seconds
        if self._allocator:
            self._allocator.begin()
        if self._kernel.works:
            self._kernel.take()
        self._phases.begin(phase)
        self._sample_host()
        self._own_seconds += time.perf_counter() - self._began
        for listener in self.listeners:
            listener(phase)

    def enter(self, phase: Phase) -> None:
        """From here on time and memory are ``phase``'s."""
        with self._counted():
            self._note_peaks()
            self._phases.enter(phase)
            self._sample_host()
        for listener in self.listeners:
            listener(phase)

    def add_batch(self, inputs: dict[str, Any]) -> None:
        """Count a micro batch's tokens, padding left out; kept as tensors, so that the GPU is not waited for here."""
        with self._counted():
            mask, positions = inputs.get("attention_mask"), inputs.get("position_ids")
            if mask is not None and mask.dim() == 2:
                self._lengths.append(mask.detach().sum(dim=1))
            elif positions is not None:
                self._starts.append(positions.detach().flatten() == 0)
            else:
                rows, columns = inputs["input_ids"].shape
                self._lengths.append([columns] * rows)

    def end(self) -> StepFigures:
        """The step has ended; waits for the GPU, which the trainer does next in any case: no part of what measuring costs."""
        self._phases.settle()
        with self._counted():
            self._note_peaks()
            stats = counters() if self._allocator else {}
            memory, phases = self._figures(stats), self.phase_memory()
            lengths = self._row_lengths()
        return StepFigures(
            seconds=time.perf_counter() - self._began,
            tokens=sum(lengths),
            longest_tokens=max(lengths, default=None),
            memory=memory,
            phases=phases,
            meter_seconds=self._own_seconds + self._sampler.seconds - self._sampled_before,
            allocator=allocator_figures(stats) if stats else None,
        )

    def phase_memory(self) -> list[PhaseMemory]:
        """What was seen in each phase since ``begin``."""
        return self._phases.told((ALLOCATED, PROCESS) if self._cuda else (HOST,))

    def longest_tokens(self) -> int | None:
        """The longest row of the step so far; None where even that cannot be had any more."""
        try:
            return max(self._row_lengths(), default=None)
        except RuntimeError:  # the device does not answer
            return None

    def _row_lengths(self) -> list[int]:
        counted = [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in self._lengths]
        return [length for batch in (*counted, *map(row_lengths, self._starts)) for length in batch]

    def allocator_peaks(self) -> tuple[int, int] | None:
        """Highest allocated and reserved bytes of the step; None without CUDA."""
        return (self._allocator.allocated, self._allocator.reserved) if self._allocator else None

    def reading(self, name: str, otherwise: Unknown) -> Bytes:
        """A source's value now; ``otherwise`` where there is no such source here."""
        return next((source.read() for source in self._sources if source.name == name), otherwise)

    def close(self) -> None:
        self._sampler.close()

    def _figures(self, stats: dict[str, Any]) -> list[MemoryFigure]:
        figures = self._allocator.figures(stats) if self._allocator else []
        for source in self._sources:
            now = source.read()
            self._phases.heard(source.name, now)
            figures.append(figure(source.name, now, self._phases.peak(source.name)))
        return figures

    def _note_peaks(self) -> None:
        """Exact peaks of the phase that ends, where somebody keeps them."""
        if self._allocator:
            self._phases.seen(ALLOCATED).raise_peak(self._allocator.take())
        if self._kernel.works:
            self._phases.seen(HOST).raise_peak(self._kernel.take() or 0)
        self._sample_host()

    def _sample_host(self) -> None:
        self._phases.heard(HOST, self._sources[-1].read())

    @contextmanager
    def _counted(self) -> Generator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._own_seconds += time.perf_counter() - began


def row_lengths(starts: torch.Tensor) -> list[int]:
    """Lengths of the rows packed one after another. ``starts``: for each token, whether a row begins with it. Waits for the GPU."""
    begins: list[int] = starts.cpu().nonzero().flatten().tolist()
    return [later - earlier for earlier, later in pairwise([*begins, starts.numel()])]
