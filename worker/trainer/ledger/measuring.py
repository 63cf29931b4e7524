"""Which steps are followed, and telling their account: the first three of an attempt, and those that the page asks for."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import Trainer

from tunescope.events import AnatomyEvent, LedgerEvent
from tunescope.memory.persistent import weight_width
from tunescope.memory.trace import Phase
from tunescope.sentences import say
from tunescope.spec import JobSpec
from tunescope.wire import TrainerRequest
from worker import requests
from worker.outbox import Outbox
from worker.probes.nvml_memory import Memory
from worker.probes.reading import Unknown
from worker.tracer.registration import Trained
from worker.trainer.ledger.outside import CudaMoment, outside_cpu, outside_cuda
from worker.trainer.ledger.snapshot import Snapshot
from worker.trainer.ledger.step import FollowedStep, Measured
from worker.trainer.meter.hooks import decoder_of, optimizer_of, trained_model
from worker.trainer.meter.meter import PROCESS, Meter
from worker.trainer.meter.sources import device_now
from worker.trainer.parallel import bucket_bytes

FIRST_STEPS = 3
"""Step 1 has no optimizer states, step 2 is the first with all of them, step 3 shows that it stays so."""


def trained_as(spec: JobSpec) -> Trained:
    """What the VRAM model calls the trained parameters of a spec."""
    if spec.adaptation.method == "lora":
        return "adapters"
    return "master_weights" if weight_width(spec) == 4 and spec.precision.dtype != "float32" else "weights"


@dataclass(frozen=True)
class Account:
    """Bytes by category at the highest moment of a step."""

    step: int
    categories: dict[str, int]


class Measuring:
    """Follows chosen steps of one trainer and emits their LedgerEvent and AnatomyEvent."""

    def __init__(
        self,
        trainer: Trainer,
        meter: Meter,
        outbox: Outbox,
        spec: JobSpec,
        *,
        probe: bool = False,
        tells: bool = True,
    ) -> None:
        """``tells``: whether accounts are told, and steps followed that the page asks for; else they are kept for a failure only."""
        self._trainer, self._meter, self._outbox, self._probe, self._tells = trainer, meter, outbox, probe, tells
        self._trained: Trained = trained_as(spec)
        self._dtype = spec.precision.dtype
        self._folder = outbox.path.parent
        self._snapshot = Snapshot(self._folder / "artifacts", outbox)
        self._left = FIRST_STEPS
        self.followed: FollowedStep | None = None
        self.last: Account | None = None
        """The newest account: what a failure after it can still tell."""
        self.step: int | None = None
        """The step at hand; None before the first."""
        meter.listeners.append(self._entered)
        decoder = decoder_of(trained_model(trainer))
        if decoder is not None:
            decoder.register_forward_hook(self._hidden)

    def step_begins(self) -> None:
        """Called before the step's data is fetched."""
        self.step = self._trainer.state.global_step + 1
        if self._asked("snapshot"):
            self._snapshot.begin()
        if self._left > 0 or self._asked("measure"):
            self._left -= 1
            trainer = self._trainer
            buckets = bucket_bytes(trainer.model_wrapped)
            followed = FollowedStep(trained_model(trainer), lambda: optimizer_of(trainer), self._trained, buckets)
            followed.begin()
            self.followed = followed

    def step_ends(self, step: int) -> None:
        """Called when the optimizer has stepped and the meter has read its figures."""
        self._snapshot.end(step)
        followed, self.followed = self.followed, None
        if followed is None:
            return
        peaks = self._meter.allocator_peaks()
        measured = followed.end(peaks[0] if peaks else None)
        self.last = Account(step, measured.categories)
        if not self._tells:
            return
        self._outbox.emit(
            LedgerEvent,
            step=step,
            source=f"{'cuda' if peaks else 'cpu'} tensors",
            peak_phase=measured.peak_phase,
            peak_site=measured.peak_site,
            categories=measured.categories,
            total_bytes=measured.total_bytes,
            sites=measured.sites,
            allocator_peak_bytes=measured.allocator_peak_bytes,
            unfollowed_bytes=measured.unfollowed_bytes,
            outside=self._outside(measured, peaks),
            probe=self._probe,
            dtype=self._dtype,
        )
        self._outbox.emit(AnatomyEvent, step=step, points=measured.points, probe=self._probe)

    def _asked(self, wish: TrainerRequest) -> bool:
        return self._tells and requests.take(self._folder, wish)

    def _outside(self, measured: Measured, peaks: tuple[int, int] | None) -> list[Any]:
        if peaks is None:
            return outside_cpu()
        device = device_now()
        return outside_cuda(
            CudaMoment(
                allocated_peak=peaks[0],
                reserved_peak=peaks[1],
                reserved_now=torch.cuda.memory_reserved(0),
                process=self._meter.reading(PROCESS, Unknown(say("nvml_silent"))),
                held=device.held if isinstance(device, Memory) else device,
            )
        )

    def _entered(self, phase: Phase) -> None:
        if self.followed is not None:
            self.followed.enter(phase)

    def _hidden(self, _module: torch.nn.Module, _arguments: Any, output: Any) -> None:
        """When the loss's gradient reaches the decoder's output, the backward of the layers begins."""
        followed = self.followed
        if followed is None:
            return
        hidden = output[0]
        if isinstance(hidden, torch.Tensor) and hidden.requires_grad:
            hidden.register_hook(followed.hidden_gradient)
