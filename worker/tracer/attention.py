"""Attention as transformers names it: eager and SDPA are its own; FlashAttention-2 stands in for the package's kernels.

The package allocates what torch's own flash kernel does: q, k, v, out and the logsumexp are kept, and backward needs dq in
fp32 and dk, dv by query head (``flash_api.cpp`` is the same file in both).
"""

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from worker.tracer.cuda import flash_attention

FLASH = "tunescope_fa2"
IMPLEMENTATIONS = {"eager": "eager", "sdpa": "sdpa", "flash_attention_2": FLASH}


def flash_forward(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, dropout: float = 0.0, scaling: float | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """q, k, v as (batch, heads, length, head size); fp32 ones are cast to the compute type, as transformers does."""
    target = _sixteen_bit(module, query)
    query, key, value = (item.to(target) for item in (query, key, value))
    out = flash_attention(query, key, value, dropout if module.training else 0.0, True, scaling)
    return out.transpose(1, 2), None


def _sixteen_bit(module: torch.nn.Module, query: torch.Tensor) -> torch.dtype:
    """``get_target_dtype`` of transformers/integrations/flash_attention.py."""
    if query.dtype != torch.float32:
        return query.dtype
    if torch.is_autocast_enabled("cuda"):
        return torch.get_autocast_dtype("cuda")
    weights = (layer.weight.dtype for layer in module.modules() if isinstance(layer, torch.nn.Linear))
    return next((dtype for dtype in weights if dtype in (torch.bfloat16, torch.float16)), torch.bfloat16)


def no_mask(*args: Any, **kwargs: Any) -> None:
    """The kernel knows causality itself. Shorter rows, which the package cuts out, are traced at their full length."""


AttentionInterface.register(FLASH, flash_forward)
AttentionMaskInterface.register(FLASH, no_mask)
