"""What CUDA does and meta tensors do not: autocast, fused dropout, the attention kernel that SDPA picks, kernels' scratch.

A function mode, since these choices are made above autograd; and a table of scratch, since kernels allocate below it.
"""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from worker.tracer.grouped import grouped_mm

Scratch = Callable[[tuple[Any, ...], dict[str, Any]], list[torch.Tensor]]


def _functions(*names: str) -> set[Any]:
    """Each name as torch's function, Tensor's method and ``nn.functional``'s, where it exists."""
    return {getattr(place, name) for name in names for place in (torch, torch.Tensor, F) if hasattr(place, name)}


LOWER_PRECISION = _functions(
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "prelu", "addmm", "addmv",
    "addr", "matmul", "__matmul__", "__rmatmul__", "einsum", "mm", "mv", "linear", "addbmm", "baddbmm", "bmm",
    "chain_matmul", "scaled_dot_product_attention",
)  # fmt: skip
"""Run in the autocast type (``aten/src/ATen/autocast_mode.h``, AT_FORALL_LOWER_PRECISION_FP)."""
FP32 = _functions(
    "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt", "sinh",
    "tan", "pow", "__pow__", "__rpow__", "softplus", "layer_norm", "group_norm", "norm", "cosine_similarity", "nll_loss",
    "kl_div", "l1_loss", "mse_loss", "logsumexp", "binary_cross_entropy_with_logits", "renorm", "cdist", "dist",
)  # fmt: skip
"""Run in fp32 (AT_FORALL_FP32)."""
FP32_RESULT = _functions("prod", "softmax", "log_softmax", "cumprod", "cumsum", "sum")
"""Run in fp32 unless a dtype is given (AT_FORALL_FP32_SET_OPT_DTYPE)."""
PROMOTE = _functions("addcdiv", "addcmul", "atan2", "cross", "dot", "index_put", "scatter_add", "tensordot", "cat")


_autocasting: list["CudaFunctions"] = []
_real_autocast = torch.autocast


def autocast_on_meta(device_type: str, *args: Any, enabled: bool = True, **kwargs: Any) -> Any:
    """``torch.autocast`` for a library that names its tensors' device: on meta it is the innermost mode's."""
    if device_type != "meta":
        return _real_autocast(device_type, *args, enabled=enabled, **kwargs)
    return _autocasting[-1].autocast(enabled) if _autocasting else nullcontext()


class CudaFunctions(TorchFunctionMode):
    """The function mode. ``autocast``: the type that matrix products run in, or None where there is no autocast."""

    def __init__(self, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self._autocast_type = autocast
        self._autocast_on = False
        self._casts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @contextmanager
    def autocast(self, enabled: bool = True) -> Generator[None]:
        """``torch.autocast("cuda")``: casts of fp32 leaves are kept until the outermost context ends."""
        before, self._autocast_on = self._autocast_on, enabled and self._autocast_type is not None
        _autocasting.append(self)
        # Libraries ask torch whether autocast is on, and in which type; meta tensors are not touched by it.
        told = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        torch.set_autocast_enabled("cuda", self._autocast_on)
        torch.set_autocast_dtype("cuda", self._autocast_type or told[1])
        try:
            yield
        finally:
            _autocasting.pop()
            self._autocast_on = before
            torch.set_autocast_enabled("cuda", told[0])
            torch.set_autocast_dtype("cuda", told[1])
            if not before and enabled:
                self._casts.clear()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._autocast_on:
            args, kwargs = self._autocast_arguments(func, args, kwargs)
        replacement = REPLACED.get(func)
        return replacement(*args, **kwargs) if replacement is not None else func(*args, **kwargs)

    def _autocast_arguments(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if func in LOWER_PRECISION:
            return tuple(self._lower(value) for value in args), {key: self._lower(v) for key, v in kwargs.items()}
        if func in FP32:
            return tuple(_to_fp32(value) for value in args), {key: _to_fp32(value) for key, value in kwargs.items()}
        if func in FP32_RESULT and kwargs.get("dtype") is None and _is_low(args[0]):
            return args, {**kwargs, "dtype": torch.float32}
        if func in PROMOTE:
            return _promoted(args), kwargs
        return args, kwargs

    def _lower(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(self._lower(item) for item in value)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        if value.dtype in (self._autocast_type, torch.float64):
            return value
        assert self._autocast_type is not None
        if value.dtype == torch.float32 and value.requires_grad and value.is_leaf and not value._is_view():
            if id(value) not in self._casts:
                self._casts[id(value)] = value, value.to(self._autocast_type)
            return self._casts[id(value)][1]
        return value.to(self._autocast_type)


def _is_low(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)


def _to_fp32(value: Any) -> Any:
    return value.float() if _is_low(value) else value


def _promoted(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Mixed inputs meet in fp32."""
    flat = [item for value in args for item in (value if isinstance(value, (list, tuple)) else (value,))]
    kinds = {item.dtype for item in flat if isinstance(item, torch.Tensor) and item.is_floating_point()}
    if len(kinds) < 2 or torch.float32 not in kinds:
        return args
    return tuple(
        [_to_fp32(item) for item in value] if isinstance(value, (list, tuple)) else _to_fp32(value) for value in args
    )


# --- functions that CUDA computes otherwise ----------------------------------------------------------------------


def dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """One kernel that keeps a mask of one byte an element (``aten/src/ATen/native/Dropout.cpp``)."""
    if not training or p == 0:
        return input
    return torch.native_dropout(input, p, True)[0]


def scaled_dot_product_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> torch.Tensor:  # fmt: skip
    """SDPA's choice on CUDA (``transformers/cuda/sdp_utils.cpp``): flash, else memory-efficient, else math.

    Flash takes 16-bit types, head sizes up to 256 and no mask; the memory-efficient kernel no grouped heads.
    """
    grouped = key.shape[1] != query.shape[1]
    low = query.dtype in (torch.bfloat16, torch.float16)
    if low and attn_mask is None and query.shape[-1] <= 256 and query.shape[-1] == value.shape[-1]:
        return flash_attention(query, key, value, dropout_p, is_causal, scale)
    if grouped:
        return torch.ops.aten._scaled_dot_product_attention_math(
            query, key, value, _float_mask(attn_mask, query), dropout_p, is_causal, scale=scale, enable_gqa=True
        )[0]
    mask = _float_mask(attn_mask, query)
    if mask is not None:
        mask = mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    needs = query.requires_grad or key.requires_grad or value.requires_grad
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, needs, dropout_p, is_causal, scale=scale
    )[0]


def flash_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout_p: float, is_causal: bool, scale: float | None
) -> torch.Tensor:
    """Heads are padded to a multiple of 8 numbers, as the kernel needs."""
    size = query.shape[-1]
    if size % 8:
        scale = scale or 1 / math.sqrt(size)
        query, key, value = (F.pad(item, (0, 8 - size % 8)) for item in (query, key, value))
    out = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
    return out[..., :size] if size % 8 else out


def _float_mask(mask: torch.Tensor | None, query: torch.Tensor) -> torch.Tensor | None:
    """Boolean masks become additive ones in the type of the query (``convert_boolean_attn_mask``)."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(mask.logical_not(), float("-inf"))


REPLACED: dict[Any, Callable[..., Any]] = {
    F.dropout: dropout,
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    torch._grouped_mm: grouped_mm,  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
}


# --- scratch of kernels --------------------------------------------------------------------------------------------


def _up(count: int, unit: int) -> int:
    return (count + unit - 1) // unit * unit


def _flash_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """``mha_bwd`` (flash_api.cpp): dq in fp32, softmax_d, and dk, dv by query head where heads are grouped."""
    query, key = args[1], args[2]
    batch, heads, length, size = query.shape
    rows, columns = _up(length, 128), _up(size, 32)
    scratch = [
        torch.empty(batch, rows, heads, columns, dtype=torch.float32, device=query.device),
        torch.empty(batch, heads, rows, dtype=torch.float32, device=query.device),
    ]
    if key.shape[1] != heads:
        expanded = (batch, key.shape[2], heads, size)
        scratch += [torch.empty(expanded, dtype=query.dtype, device=query.device) for _ in range(2)]
    return scratch


def _efficient_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """``_efficient_attention_backward``: delta, and 16-bit gradients of q accumulate in fp32."""
    query = args[1]
    batch, heads, length, size = query.shape
    scratch = [torch.empty(batch, heads, length, dtype=torch.float32, device=query.device)]
    if query.dtype != torch.float32:
        scratch.append(torch.empty(batch, length, heads, size, dtype=torch.float32, device=query.device))
    return scratch


KERNEL_SCRATCH: dict[Any, Scratch] = {
    torch.ops.aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    torch.ops.aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
}
"""What a kernel allocates beside its results while it runs."""
