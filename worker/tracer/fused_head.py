"""TRL's fused head on meta tensors: its own tiles, with the CUDA path's choices and without its Triton kernels."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from transformers import PreTrainedModel
from trl.kernels import chunked_logprob
from trl.trainer import utils as trl_utils

OUTPUTS = ("log_probs", "entropy", "is_top1")
"""What SFTTrainer asks of the head (``trl/trainer/sft_trainer.py``)."""


class _Kernel:
    """A Triton kernel: works in place on what it is given, allocates nothing."""

    def __getitem__(self, grid: Any) -> "_Kernel":
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        return None


def _accumulate(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """``addmm(..., out_dtype=float32, out=total)``: in place."""


class _Scatter(torch.autograd.Function):
    """``zeros.masked_scatter(mask, values)``, whose gradient is a selection of as many values."""

    @staticmethod
    def forward(ctx: Any, zeros: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        ctx.count = values.shape
        return torch.empty_like(zeros)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, gradient.new_empty(ctx.count)


class Selected(torch.overrides.TorchFunctionMode):
    """Indexing with a mask yields ``share`` of the rows: which ones is not known without data."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self._share = share

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__ and isinstance(args[1], torch.Tensor) and args[1].dtype == torch.bool:
            tensor, mask = args
            count = max(1, round(mask.numel() * self._share))
            # nonzero gives one column of int64 per dimension of the mask.
            places = torch.empty(mask.dim(), count, dtype=torch.int64, device=tensor.device)
            return tensor[tuple(places.unbind(0))]
        if func is torch.Tensor.masked_scatter:
            return _Scatter.apply(args[0], args[2])
        return func(*args, **(kwargs or {}))


def add(base: PreTrainedModel) -> None:
    trl_utils.add_fused_lm_head(base, outputs=OUTPUTS)


def _always(_device: torch.device) -> bool:
    return True


@contextmanager
def on_meta() -> Generator[None]:
    """While inside, the head takes its CUDA path."""
    with ExitStack() as stack:
        for module in (chunked_logprob, trl_utils):
            stack.enter_context(patch.object(module, "_use_triton", _always))
        for name in ("_forward_kernel", "_backward_kernel"):
            stack.enter_context(patch.object(chunked_logprob, name, _Kernel()))
        stack.enter_context(patch.object(chunked_logprob, "_addmm_fp32", _accumulate))
        for question in (torch.is_autocast_enabled, torch.get_autocast_dtype):
            stack.enter_context(patch.object(torch, question.__name__, _of_cuda(question)))
        if not hasattr(chunked_logprob, "triton"):
            stack.enter_context(patch.object(chunked_logprob, "triton", _Grid, create=True))
        yield


def _of_cuda(question: Callable[..., Any]) -> Callable[..., Any]:
    """The head asks about autocast on its tensors' device: the answer is CUDA's."""
    return lambda *device: question(*("cuda" if name == "meta" else name for name in device))


class _Grid:
    @staticmethod
    def cdiv(count: int, size: int) -> int:
        return -(-count // size)
