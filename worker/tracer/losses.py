"""The loss as each set of library versions computes it: how many copies of the logits live at once differs.

Today's path is the installed transformers' own. The older ones are written down from those versions' sources.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel


def shifted_fp32(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
    """transformers 4.46 to 4.48, ``loss/loss_utils.py``: fp32 copy, shifted copy, log-softmax."""
    logits = logits.float()
    shifted = logits[..., :-1, :].contiguous()
    targets = labels[..., 1:].contiguous()
    return F.cross_entropy(shifted.view(-1, vocab_size), targets.view(-1))


def shifted_half(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
    """Qwen-7B's ``modeling_qwen.py`` of 2023: a shifted copy in 16 bit; autocast makes the fp32 one."""
    shifted = logits[..., :-1, :].contiguous()
    targets = labels[..., 1:].contiguous()
    return F.cross_entropy(shifted.view(-1, vocab_size).float(), targets.view(-1))


def _fp32_head(module: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    """transformers up to 4.45: ``logits = logits.float()`` lets go of the 16-bit ones before the loss."""
    return output.float()


def use_path(base: PreTrainedModel, stack_name: str) -> None:
    """Give the model the loss of a stack profile."""
    path = PATHS.get(stack_name)
    if path is None:
        return
    base.loss_function = path
    head = base.get_output_embeddings()
    if stack_name == "transformers-4.45" and head is not None:
        head.register_forward_hook(_fp32_head)


PATHS: dict[str, Callable[..., torch.Tensor]] = {
    "transformers-4.48": shifted_fp32,
    "transformers-4.48-no-autocast": shifted_fp32,
    "transformers-4.48-norms-fp32": shifted_fp32,
    "kbit-prepared": shifted_fp32,
    "transformers-4.45": shifted_fp32,
    "qwen-2023": shifted_half,
    "swift-2024": shifted_half,
}
"""Stack profiles whose loss is not the installed transformers' own."""
