"""FollowedStep: one real step of the trainer under the follower of live storages."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from tunescope.events import AnatomyPoint
from tunescope.memory.ledger import Category
from tunescope.memory.trace import Phase
from worker.tracer.follower import CUDA_ROUNDING, Follower
from worker.tracer.registration import Trained
from worker.trainer.ledger.anatomy import TimedEvents, anatomy

SITES: dict[Phase, tuple[str, Category]] = {
    "load": ("load", "weights"),
    "data": ("data", "activations"),
    "forward": ("forward_end", "activations"),
    "loss": ("forward_end", "logits_and_loss"),
    "backward": ("loss_backward", "logits_and_loss"),
    "optimizer": ("optimizer_step", "workspace"),
}
"""The VRAM model's site and category of what is born in each phase, where nothing better is known of it."""


@dataclass(frozen=True)
class Measured:
    """One step's account at its highest moment. ``categories`` sum to ``total_bytes``."""

    peak_phase: Phase
    peak_site: str
    categories: dict[str, int]
    total_bytes: int
    sites: dict[str, int]
    allocator_peak_bytes: int | None
    unfollowed_bytes: int | None
    """The part of ``workspace`` that no followed tensor explains: kernels' own scratch, cuBLAS; None where not known."""
    points: list[AnatomyPoint]


class FollowedStep:
    """``begin`` before the step's data is fetched, ``enter`` its phases, ``end`` after the optimizer's step."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Callable[[], torch.optim.Optimizer | None],
        trained: Trained,
        buckets: Sequence[int] = (),
    ) -> None:
        """``buckets``: bytes of each that DDP exchanges gradients in, which live outside Python."""
        self._cuda = torch.cuda.is_available()
        self._model, self._optimizer = model, optimizer
        self._trained: Trained = trained
        self._buckets = buckets
        self._follower = Follower("cuda" if self._cuda else "cpu", CUDA_ROUNDING if self._cuda else 1, record=True)
        self._events = self._follower.events = TimedEvents()
        self._open = ExitStack()
        self._first = 0
        self._began = 0.0

    def begin(self) -> None:
        follower = self._follower
        follower.register_model(self._model, self._trained)
        for count in self._buckets:
            follower.hold(count, "communication")
        self._register_states()
        self._open.enter_context(follower.gradients_of(self._model))
        self._open.enter_context(follower)
        self.enter("data")
        follower.reset_peaks()
        self._first, self._began = len(self._events), time.perf_counter()

    def enter(self, phase: Phase) -> None:
        if phase in SITES:
            self._follower.enter(phase, *SITES[phase])
        if phase == "optimizer":
            self._register_states()

    def hidden_gradient(self, _gradient: torch.Tensor) -> None:
        """A hook on the decoder's output. In backward: the loss's part is over, the layers' begins."""
        if self._follower.phase == "backward":
            self._follower.enter("backward", "layer_backward", "activations")

    def end(self, allocator_peak: int | None) -> Measured:
        """Leave the step. ``allocator_peak``: the highest bytes that torch's allocator says of it; None on the CPU."""
        self._register_states()
        self._open.close()
        follower, ended = self._follower, time.perf_counter()
        categories: dict[str, int] = {name: count for name, count in follower.peak_by_category.items() if count}
        unfollowed = None if allocator_peak is None else allocator_peak - follower.peak
        if unfollowed:
            categories["workspace"] = categories.get("workspace", 0) + unfollowed
        return Measured(
            peak_phase=follower.peak_phase,
            peak_site=follower.peak_site,
            categories=categories,
            total_bytes=sum(categories.values()),
            sites=dict(follower.site_peaks),
            allocator_peak_bytes=allocator_peak,
            unfollowed_bytes=unfollowed,
            points=anatomy(self._events, self._events.times, self._began, ended, self._first),
        )

    def live_now(self) -> dict[str, int]:
        """What lives at this moment, by category: the account of a step that dies."""
        return {name: count for name, count in self._follower.by_category.items() if count}

    def abandon(self) -> None:
        """Stop following without an account."""
        self._open.close()

    def _register_states(self) -> None:
        optimizer = self._optimizer()
        if optimizer is not None:
            self._follower.register_optimizer(optimizer)
