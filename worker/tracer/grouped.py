"""Grouped matrix products on meta tensors: torch's own shape function knows bf16 only, its CUDA kernel 16 and 32 bits."""

from typing import Any

import torch

_real: Any = torch._grouped_mm  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


class _Grouped(torch.autograd.Function):
    """``aten::_grouped_mm``: keeps each input for the other's gradient; backward makes that of the weights first."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        of_rows, of_weights = ctx.needs_input_grad
        ctx.rows, ctx.weights = rows.shape, (weights.shape, weights.stride())
        ctx.save_for_backward(rows if of_weights else None, weights if of_rows else None)
        return rows.new_empty(rows.shape[0], weights.shape[2])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        _held = ctx.saved_tensors
        of_rows, of_weights = ctx.needs_input_grad
        # Laid out as the weights are, so that it is taken for their gradient as it is.
        made = gradient.new_empty_strided(*ctx.weights) if of_weights else None
        return (gradient.new_empty(ctx.rows) if of_rows else None), made


def grouped_mm(rows: torch.Tensor, weights: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    if rows.dtype == torch.bfloat16 or rows.device.type != "meta":
        return _real(rows, weights, **kwargs)
    out: Any = _Grouped.apply(rows, weights)
    return out
