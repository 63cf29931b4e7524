"""Quantized layers without weights: bitsandbytes' own modules and autograd, on meta buffers of the right sizes.

Only what its CUDA kernels allocate unseen is added, and what its operators cannot do on meta tensors is replaced.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from bitsandbytes import functional
from bitsandbytes.functional import QuantState
from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt, Params4bit

from tunescope.spec import Precision

BLOCK, NESTED_BLOCK = 64, 256
"""bitsandbytes' block sizes: weights, and their absmax when it is quantized too (``functional.py:884``)."""


def _empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def quantize(model: torch.nn.Module, precision: Precision, dtype: torch.dtype, skipped: set[str]) -> None:
    """Replace every ``nn.Linear`` but those whose full name is in ``skipped``, as transformers' quantizer does."""
    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            path = f"{name}.{child_name}" if name else child_name
            if type(child) is torch.nn.Linear and path not in skipped:
                setattr(module, child_name, _quantized(child, precision, dtype))


def _quantized(linear: torch.nn.Linear, precision: Precision, dtype: torch.dtype) -> torch.nn.Module:
    return _int8(linear) if precision.quantization == "int8" else _four_bit(linear, precision, dtype)


def _four_bit(linear: torch.nn.Linear, precision: Precision, dtype: torch.dtype) -> Linear4bit:
    rows, columns = linear.weight.shape
    with torch.device("meta"):
        layer = Linear4bit(
            1, 1, bias=False, compute_dtype=dtype, compress_statistics=precision.double_quant,
            quant_type=precision.quantization,
        )  # fmt: skip
    layer.in_features, layer.out_features, layer.bias = columns, rows, linear.bias
    layer.compute_type_is_set = True
    # Its __init__ is untyped, nn.Parameter's is what a type checker sees.
    packed: Any = Params4bit
    layer.weight = packed(
        _empty((rows * columns + 1) // 2, 1, dtype=torch.uint8), requires_grad=False,
        quant_state=quant_state(rows, columns, precision, linear.weight.dtype), blocksize=BLOCK,
        compress_statistics=precision.double_quant, quant_type=precision.quantization, bnb_quantized=True,
    )  # fmt: skip
    return layer


def quant_state(rows: int, columns: int, precision: Precision, dtype: torch.dtype) -> QuantState:
    """The constants of one 4-bit matrix; nested ones if the absmax is quantized too."""
    blocks = -(-rows * columns // BLOCK)
    common: dict[str, Any] = {
        "shape": torch.Size((rows, columns)), "code": _empty(16), "blocksize": BLOCK,
        "quant_type": precision.quantization, "dtype": dtype,
    }  # fmt: skip
    if not precision.double_quant:
        return QuantState(absmax=_empty(blocks), **common)
    second = QuantState(
        absmax=_empty(-(-blocks // NESTED_BLOCK)), blocksize=NESTED_BLOCK, code=_empty(256), dtype=torch.float32
    )
    absmax = torch.empty(blocks, dtype=torch.uint8, device="meta")
    return QuantState(absmax=absmax, offset=torch.empty((), device="meta"), state2=second, **common)


def _int8(linear: torch.nn.Linear) -> Linear8bitLt:
    rows, columns = linear.weight.shape
    with torch.device("meta"):
        layer = Linear8bitLt(1, 1, bias=False, has_fp16_weights=False, threshold=6.0)
    layer.in_features, layer.out_features, layer.bias = columns, rows, linear.bias
    stored, scales = torch.empty(rows, columns, dtype=torch.int8, device="meta"), _empty(rows)
    packed: Any = Int8Params
    layer.weight = packed(stored, requires_grad=False, has_fp16_weights=False, CB=stored, SCB=scales)
    return layer


# --- what the kernels allocate unseen ------------------------------------------------------------------------------


def _four_bit_product(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """``_dequant_linear_fallback``: fp32 absmax twice where it is nested, and the whole weight in 16 bit.

    Up to 1,536 rows (``backends/cuda/ops.py``) a GPU may choose to multiply without restoring it. Backward restores it all the same.
    """
    # Given by name they are told apart by place all the same: (A, B, shapeB, absmax, blocksize, quant_type, bias, absmax_8bit, ...).
    inputs, shape = args[0], args[2]
    scratch: list[torch.Tensor] = []
    nested = args[7] if len(args) > 7 else kwargs.get("absmax_8bit")
    if nested is not None:
        scratch += [torch.empty_like(nested, dtype=torch.float32) for _ in range(2)]
    return [*scratch, torch.empty(tuple(shape), dtype=inputs.dtype, device=inputs.device)]


# --- LLM.int8 on meta tensors --------------------------------------------------------------------------------------


def _vectorwise_quant(
    inputs: torch.Tensor, threshold: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """``int8_vectorwise_quant`` (CUDA): the outlier search costs a copy and two masks; no column is taken for one."""
    stats = torch.empty(inputs.numel() // inputs.shape[-1], dtype=torch.float32, device=inputs.device)
    out = torch.empty(inputs.shape, dtype=torch.int8, device=inputs.device)
    columns = None
    if threshold > 0:
        outliers = inputs.abs() >= threshold
        outliers.any()
        outliers.any(dim=0)
        columns = torch.empty(0, dtype=torch.int64, device=inputs.device)
    return out, stats, columns


def _int8_product(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """``int8_scaled_mm``: an int32 product, dequantized to fp16 before it is cast to the input's type."""
    inputs, weight = args[0], args[1]
    shape = (*inputs.shape[:-1], weight.shape[0])
    scratch = [torch.empty(shape, dtype=torch.int32, device=inputs.device)]
    # PyTorch hands it on by name or by place.
    if kwargs.get("dtype", args[5] if len(args) > 5 else None) != torch.float16:
        scratch.append(torch.empty(shape, dtype=torch.float16, device=inputs.device))
    return scratch


def _mixed_product(
    inputs: torch.Tensor, quantized: torch.Tensor, weight: torch.Tensor, stats: torch.Tensor, scales: torch.Tensor,
    outlier_columns: torch.Tensor | None = None, bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """``int8_mixed_scaled_mm`` where no column is an outlier."""
    none = torch.empty(0, dtype=inputs.dtype, device=inputs.device)
    product = torch.ops.bitsandbytes.int8_scaled_mm.default(
        quantized, weight, stats, scales, bias=bias, dtype=inputs.dtype
    )
    return product, none


STANDIN_SCRATCH = {
    torch.ops.bitsandbytes.gemm_4bit.default: _four_bit_product,
    torch.ops.bitsandbytes.int8_scaled_mm.default: _int8_product,
}


@contextmanager
def meta_int8() -> Generator[None]:
    """While inside, LLM.int8 layers run on meta tensors."""
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            patch.object(functional, "int8_vectorwise_quant", _vectorwise_quant),
            patch.object(torch.ops.bitsandbytes, "int8_mixed_scaled_mm", _mixed_product),
        ):
            yield
    finally:
        logger.setLevel(before)
