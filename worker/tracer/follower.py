"""Follower: every storage's birth and death, as malloc and free, by category and phase.

Works alike for meta, CPU and CUDA tensors, in the tracer and inside the real trainer: enter it around the code to follow
(a whole run or a single step), after registering what already lives.

    follower = Follower("cuda")
    follower.register_model(model)
    follower.register_optimizer(optimizer)
    with follower:
        follower.enter("forward", "forward_end", "activations")
        ...
"""

import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tunescope.memory.ledger import Category
from tunescope.memory.trace import Phase
from worker.tracer.registration import Trained, identity, model_tensors, optimizer_tensors

CUDA_ROUNDING = 512
"""CUDA's caching allocator hands out multiples of this many bytes (``c10/core/AllocatorConfig.h``)."""
PERSISTENT: frozenset[str] = frozenset({"weights", "quantization_state", "adapters", "master_weights"})
_SCRATCH = ("dequantize",)
"""Operators whose results are scratch, never activations: a weight unpacked for one product."""


class Event(NamedTuple):
    """One change. ``bytes`` is the storage's size as accounted; a ``retag`` moves it to ``category``.

    ``since_birth``: the storage was of that category from the start, it only was not known yet (a gradient, a state).
    """

    kind: Literal["malloc", "free", "retag"]
    uid: int
    bytes: int
    category: Category
    phase: Phase
    site: str
    since_birth: bool = False


class _Block(weakref.ref[torch.UntypedStorage]):
    """A live storage: the weak reference whose callback is its death."""

    __slots__ = ("bytes", "category", "key", "uid")
    key: int
    uid: int
    bytes: int
    category: Category


_override: list[Category] = []


@contextmanager
def counted_as(category: Category) -> Generator[None]:
    """Count what is born inside under ``category``, whatever the phase says: for kernels that know their own scratch."""
    _override.append(category)
    try:
        yield
    finally:
        _override.pop()


class Follower(TorchDispatchMode):
    """Live bytes of one kind of device, now and at their highest, by category and by site of the step.

    ``round_to``: 512 for CUDA's accounting, 1 for exact bytes. ``record``: keep every event, for timelines and replay.
    ``scratch``: what operators allocate unseen while they run, as tensors to be held meanwhile.
    ``call``: how operators are called, if not directly.
    """

    def __init__(
        self,
        device: str,
        round_to: int = CUDA_ROUNDING,
        record: bool = False,
        scratch: Mapping[Any, Callable[..., list[torch.Tensor]]] | None = None,
        call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__()
        self._device = device
        self._round = round_to
        self._scratch = scratch or {}
        self._call = call
        self.events: list[Event] | None = [] if record else None
        self.current = 0
        self.by_category: dict[Category, int] = {}
        self.peak = 0
        self.peak_by_category: dict[Category, int] = {}
        self.peak_phase: Phase = "load"
        self.peak_site = "load"
        self.site_peaks: dict[str, int] = {}
        self._peak_uid = 0
        self._uid = 0
        self._live: dict[int, _Block] = {}
        self.phase: Phase = "load"
        self.site = "load"
        self.category: Category = "weights"

    # --- where we are in the step ------------------------------------------------------------------------------

    def enter(self, phase: Phase, site: str, category: Category) -> None:
        """From here on: new storages are of ``category``, the highest bytes count for ``site``."""
        self.phase, self.site, self.category = phase, site, category
        self._note_site()

    def reset_peaks(self) -> None:
        """Forget the highest values; they start again from what is live now."""
        self.site_peaks = {}
        self.peak = 0
        self._note_peak()
        self._note_site()

    # --- what is known beforehand ------------------------------------------------------------------------------

    def register(self, tensor: torch.Tensor, category: Category) -> None:
        """Follow a tensor that lives already (or correct its category, from its birth on)."""
        if tensor.device.type != self._device:
            return
        storage = tensor.untyped_storage()
        block = self._live.get(identity(storage))
        if block is None:
            self._born(storage, category)
        elif block.category != category:
            self.retag(tensor, category, since_birth=True)

    def hold(self, count: int, category: Category) -> None:
        """Follow ``count`` bytes that live on and that no tensor of Python's stands for."""
        self._uid += 1
        block = _Block(torch.UntypedStorage(), None)
        block.uid, block.bytes, block.category = self._uid, self._rounded(count), category
        self._add(block)

    def register_all(self, tensors: Iterable[tuple[torch.Tensor, Category]]) -> None:
        for tensor, category in tensors:
            self.register(tensor, category)

    def register_model(self, model: torch.nn.Module, trained: Trained) -> None:
        """Parameters, buffers and bitsandbytes' constants. ``trained`` is what the trained parameters are called."""
        self.register_all(model_tensors(model, trained))

    def register_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """The states that an optimizer holds now; call again after a step that made some."""
        self.register_all((tensor, "optimizer_states") for tensor in optimizer_tensors(optimizer))

    @contextmanager
    def gradients_of(self, model: torch.nn.Module) -> Generator[None]:
        """While inside, what becomes a parameter's gradient is counted as one, from its birth on."""

        def accumulated(parameter: torch.Tensor) -> None:
            if parameter.grad is not None:
                self.register(parameter.grad, "gradients")

        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        handles = [parameter.register_post_accumulate_grad_hook(accumulated) for parameter in trained]
        self.register_all((parameter.grad, "gradients") for parameter in trained if parameter.grad is not None)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def retag(self, tensor: torch.Tensor, category: Category, since_birth: bool = False) -> None:
        """Move a live storage to another category; ``since_birth`` moves it in the peak's ledger too."""
        block = self._live.get(identity(tensor.untyped_storage()))
        if block is None or block.category == category:
            return
        self._move(self.by_category, block, category)
        # It is alive now, so it was at the peak if it was born by then.
        if since_birth and block.uid <= self._peak_uid:
            self._move(self.peak_by_category, block, category)
        block.category = category
        if self.events is not None:
            self.events.append(Event("retag", block.uid, block.bytes, category, self.phase, self.site, since_birth))

    def uid_of(self, tensor: torch.Tensor) -> int:
        """The id of a live storage in the events."""
        return self._live[identity(tensor.untyped_storage())].uid

    def category_of(self, tensor: torch.Tensor) -> Category | None:
        block = self._live.get(identity(tensor.untyped_storage()))
        return block.category if block is not None else None

    # --- births and deaths -------------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        needed = self._scratch.get(func)
        held = self._hold(needed(args, kwargs or {})) if needed is not None else None
        out = func(*args, **(kwargs or {})) if self._call is None else self._call(func, args, kwargs or {})
        if isinstance(out, torch.Tensor):
            self._see(out, func, args)
        elif isinstance(out, (tuple, list)):
            for item in out:
                if isinstance(item, torch.Tensor):
                    self._see(item, func, args)
                elif isinstance(item, (tuple, list)):
                    for inner in item:
                        if isinstance(inner, torch.Tensor):
                            self._see(inner, func, args)
        del held
        return out

    def _hold(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        for tensor in tensors:
            self.register(tensor, "workspace")
        return tensors

    def _see(self, tensor: torch.Tensor, func: Any, args: tuple[Any, ...]) -> None:
        if tensor.device.type != self._device:
            return
        storage = tensor.untyped_storage()
        block = self._live.get(identity(storage))
        if block is None:
            self._born(storage, self._classify(func, args))
        elif block.bytes != self._accounted(storage):
            self._resized(block, storage)

    def _classify(self, func: Any, args: tuple[Any, ...]) -> Category:
        if _override:
            return _override[-1]
        if self.phase not in ("forward", "loss", "backward"):
            return self.category
        if func is torch.ops.aten._to_copy.default and self.category_of(args[0]) in PERSISTENT:
            return "workspace"
        name = func.__name__
        return "workspace" if any(word in name for word in _SCRATCH) else self.category

    def _accounted(self, storage: torch.UntypedStorage) -> int:
        return self._rounded(storage.nbytes())

    def _rounded(self, count: int) -> int:
        return (count + self._round - 1) // self._round * self._round

    def _born(self, storage: torch.UntypedStorage, category: Category) -> None:
        count = self._accounted(storage)
        if count == 0:
            return
        self._uid += 1
        block = _Block(storage, self._died)
        block.key, block.uid, block.bytes, block.category = identity(storage), self._uid, count, category
        self._live[block.key] = block
        self._add(block)

    def _add(self, block: _Block) -> None:
        self.current += block.bytes
        self.by_category[block.category] = self.by_category.get(block.category, 0) + block.bytes
        if self.events is not None:
            self.events.append(Event("malloc", block.uid, block.bytes, block.category, self.phase, self.site))
        if self.current > self.peak:
            self._note_peak()
        if self.current > self.site_peaks.get(self.site, 0):
            self.site_peaks[self.site] = self.current

    def _died(self, block: weakref.ref[torch.UntypedStorage]) -> None:
        assert isinstance(block, _Block)
        if self._live.get(block.key) is block:
            del self._live[block.key]
        self._subtract(block)

    def _subtract(self, block: _Block) -> None:
        self.current -= block.bytes
        self.by_category[block.category] -= block.bytes
        if self.events is not None:
            self.events.append(Event("free", block.uid, block.bytes, block.category, self.phase, self.site))

    def _resized(self, block: _Block, storage: torch.UntypedStorage) -> None:
        """``resize_`` takes a new piece of memory before it gives the old one back."""
        old_bytes, old_uid = block.bytes, block.uid
        self._uid += 1
        block.uid, block.bytes = self._uid, self._accounted(storage)
        self._add(block)
        self.current -= old_bytes
        self.by_category[block.category] -= old_bytes
        if self.events is not None:
            self.events.append(Event("free", old_uid, old_bytes, block.category, self.phase, self.site))

    # --- the highest values ------------------------------------------------------------------------------------

    def _note_peak(self) -> None:
        self.peak = self.current
        self.peak_by_category = dict(self.by_category)
        self.peak_phase, self.peak_site, self._peak_uid = self.phase, self.site, self._uid

    def _note_site(self) -> None:
        self.site_peaks[self.site] = max(self.current, self.site_peaks.get(self.site, 0))

    @staticmethod
    def _move(ledger: dict[Category, int], block: _Block, category: Category) -> None:
        ledger[block.category] = ledger.get(block.category, 0) - block.bytes
        ledger[category] = ledger.get(category, 0) + block.bytes
