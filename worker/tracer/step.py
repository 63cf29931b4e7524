"""One optimizer step as the trainer runs it: micro batches forward and backward, clipping, the optimizer, zero_grad."""

import gc
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from transformers import PreTrainedModel, masking_utils

from tunescope.memory.stack import Stack
from tunescope.spec import JobSpec
from worker.tracer import fused_head, losses, memoized, model, optimizers, standins
from worker.tracer.cuda import KERNEL_SCRATCH, CudaFunctions, autocast_on_meta
from worker.tracer.follower import Follower
from worker.tracer.moments import Moments

SCRATCH = {**KERNEL_SCRATCH, **standins.STANDIN_SCRATCH}


class Workload:
    """Rows and tokens of one micro batch, and whether some rows are shorter than the longest."""

    def __init__(self, batch: int, sequence: int, packed: bool = False) -> None:
        self.batch, self.sequence, self.packed = batch, sequence, packed

    @property
    def padded(self) -> bool:
        """Of several rows the shorter ones are padded to the longest, and hidden by a mask."""
        return self.batch > 1 and not self.packed

    @property
    def shape(self) -> tuple[int, int]:
        """Packed rows are laid end to end in one (TRL's padding-free collator)."""
        return (1, self.batch * self.sequence) if self.packed else (self.batch, self.sequence)


class TracedStep:
    """A model ready to train on meta tensors, and the pieces of its step."""

    def __init__(self, spec: JobSpec, config: dict[str, Any], stack: Stack, work: Workload, workspace: int) -> None:
        self.spec, self.work, self.workspace = spec, work, workspace
        self.model: PreTrainedModel = model.build_model(spec, config, stack)
        self.base = model.base_of(self.model)
        autocast = model.autocast_type(spec, stack)
        self.autocast = autocast is not None
        self.functions = CudaFunctions(autocast)
        self.follower = Follower("meta", record=True, scratch=SCRATCH, call=memoized.REMEMBERED)
        self.moments = Moments(self.follower, self.base)
        self._held: list[torch.Tensor] = []
        self._with_gradient: list[torch.nn.Parameter] = []
        if spec.memory_savers.gradient_checkpointing:
            model.enable_checkpointing(self.model, self._recomputed, reentrant=stack.name != "current")
        if spec.memory_savers.fused_loss:
            fused_head.add(self.base)
        else:
            losses.use_path(self.base, stack.name)
        self._fp32_rotary()
        self.moments.attach()
        self._batch = self._inputs()

    # --- what lives before the step ------------------------------------------------------------------------------

    def register(self) -> None:
        """Weights, adapters and constants, as the load leaves them."""
        masters = self.spec.adaptation.method == "full" and self.spec.precision.master_weights
        full = "master_weights" if masters and self.spec.precision.dtype != "float32" else "weights"
        self.follower.register_model(self.model, "adapters" if self.spec.adaptation.method == "lora" else full)

    def make_optimizer(self) -> None:
        self.optimizer = optimizers.make(self.spec, self.model)

    def largest_loading_bytes(self) -> int:
        """Weights are quantized one at a time: the 16-bit copy of the largest lives beside them while loading."""
        layers = [item for item in self.base.modules() if isinstance(item, (Linear4bit, Linear8bitLt))]
        return max((2 * item.in_features * item.out_features for item in layers), default=0)

    # --- the step ------------------------------------------------------------------------------------------------

    def fetch(self, count: int) -> list[torch.Tensor]:
        """The trainer fetches every micro batch of a step, and one ahead: token ids, mask and labels of each."""
        tensors = list(self._batch.values())
        ahead = [torch.empty((count, *item.shape), dtype=item.dtype, device="meta") for item in tensors]
        self.follower.register_all((item, "activations") for item in [*tensors, *ahead])
        return ahead

    def micro_batch(self) -> None:
        with self.follower:
            self.moments.forward()
            loss = self._loss()
            self._need_workspace(1)
            self.moments.backward()
            self._need_workspace(2)
            with self.follower.gradients_of(self.model):
                torch.autograd.backward(loss)
        self._with_gradient = [parameter for parameter in self._trained() if parameter.grad is not None]

    def update(self) -> None:
        """Clipping, the optimizer, ``zero_grad(set_to_none=True)``."""
        with self.follower:
            self.moments.optimizer()
            self._clip([parameter.grad for parameter in self._trained() if parameter.grad is not None])
            self.optimizer.step()
            self.follower.register_optimizer(self.optimizer)
            for parameter in self._trained():
                parameter.grad = None

    def gradient_ids(self) -> list[int]:
        return [self.follower.uid_of(item.grad) for item in self._trained() if item.grad is not None]

    def stand_in_gradients(self) -> list[int]:
        """Gradients as the micro batches leave them, to trace a second update with."""
        for parameter in self._with_gradient:
            parameter.grad = torch.empty_like(parameter)
            self.follower.register(parameter.grad, "gradients")
        return self.gradient_ids()

    @torch.no_grad()
    def _clip(self, gradients: list[torch.Tensor]) -> None:
        """``clip_grad_norm_`` on CUDA: a norm for each tensor at once, then scaled in place."""
        operators: Any = torch  # the _foreach_ ones are what PyTorch's own clipping calls
        total = torch.linalg.vector_norm(torch.stack(list(operators._foreach_norm(gradients))))
        coefficient = torch.clamp(self.spec.optimizer.max_grad_norm / (total + 1e-6), max=1.0)
        operators._foreach_mul_(gradients, coefficient)

    def _loss(self) -> torch.Tensor:
        """``compute_loss``: the outputs live until it returns; accelerate makes them fp32 under autocast."""
        with self.functions:
            with self.functions.autocast():
                self._need_workspace(1)
                outputs = self._forward()
            if self.autocast and outputs.get("logits") is not None:
                converted = outputs.logits.float()
                del converted
            return outputs.loss

    def _forward(self) -> Any:
        if not self.spec.memory_savers.fused_loss:
            return self.model(**self._batch, use_cache=False)
        with fused_head.Selected():
            return self.model(**self._batch, use_cache=False, fused_lm_head=True)

    def _need_workspace(self, count: int) -> None:
        """cuBLAS takes one workspace a thread: for forward, and for autograd's thread with the first backward."""
        while self.workspace and len(self._held) < count:
            self._held.append(torch.empty(self.workspace, dtype=torch.uint8, device="meta"))
            self.follower.register(self._held[-1], "workspace")

    def _recomputed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A layer's forward, which in backward runs again under the modes that hold in forward."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if self.follower.phase != "backward":
                return function(*args, **kwargs)
            with self.functions, self.functions.autocast():
                return function(*args, **kwargs)

        return run

    def _trained(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _inputs(self) -> dict[str, torch.Tensor]:
        names = (
            ("input_ids", "position_ids", "labels") if self.work.packed else ("input_ids", "attention_mask", "labels")
        )
        return {name: torch.zeros(self.work.shape, dtype=torch.int64, device="meta") for name in names}

    def _fp32_rotary(self) -> None:
        """Rotary embeddings switch autocast off for their product of positions and frequencies."""
        for module in self.base.modules():
            if type(module).__name__.endswith("RotaryEmbedding"):
                forward = module.forward
                module.forward = self._without_autocast(forward)  # pyright: ignore[reportAttributeAccessIssue]

    def _without_autocast(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.functions.autocast(enabled=False):
                return function(*args, **kwargs)

        return run


@contextmanager
def as_on_cuda(work: Workload) -> Generator[None]:
    """While inside, questions about data are answered for the workload, and garbage is not collected at random."""

    def packed(position_ids: torch.Tensor) -> torch.Tensor | None:
        return torch.empty_like(position_ids) if work.packed else None

    def all_tokens(_mask: torch.Tensor) -> bool:
        return not work.padded

    with ExitStack() as stack:
        stack.enter_context(patch.object(masking_utils, "find_packed_sequence_indices", packed))
        stack.enter_context(patch.object(masking_utils, "fast_all", all_tokens))
        stack.enter_context(patch.object(torch, "autocast", autocast_on_meta))
        stack.enter_context(fused_head.on_meta())
        stack.enter_context(standins.meta_int8())
        gc.collect()
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()
