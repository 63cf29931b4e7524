"""What a model and an optimizer hold on the device, tensor by tensor, with the ledger's category of each."""

from collections.abc import Iterator
from typing import Any, Literal

import torch

from tunescope.memory.ledger import Category

Trained = Literal["adapters", "weights", "master_weights"]
_CONSTANTS = ("absmax", "code", "offset", "SCB", "weight_format")
"""Names of the buffers in which quantized layers keep their constants."""


def identity(storage: torch.UntypedStorage) -> int:
    """What two tensors over the same memory share while it lives, on meta as well, where nothing has an address."""
    return storage._cdata  # pyright: ignore[reportPrivateUsage]


def model_tensors(model: torch.nn.Module, trained: Trained) -> Iterator[tuple[torch.Tensor, Category]]:
    """Parameters (trained ones under ``trained``), bitsandbytes' constants, and buffers as weights."""
    for parameter in model.parameters():
        yield parameter.data, trained if parameter.requires_grad else "weights"
        for constant in _constants(parameter):
            yield constant, "quantization_state"
    for module in model.modules():
        # Linear8bitLt moves its row scales here at the first forward.
        scale = getattr(getattr(module, "state", None), "SCB", None)
        if isinstance(scale, torch.Tensor):
            yield scale, "quantization_state"
    for name, buffer in model.named_buffers():
        last = name.rsplit(".", 1)[-1]
        yield buffer, "quantization_state" if last.startswith(_CONSTANTS) else "weights"


def _constants(parameter: Any) -> Iterator[torch.Tensor]:
    """bitsandbytes keeps them beside the packed weight: ``quant_state`` (4 bit, maybe nested), ``SCB`` (int8)."""
    state = getattr(parameter, "quant_state", None)
    while state is not None:
        for name in ("absmax", "code", "offset"):
            tensor = getattr(state, name, None)
            if isinstance(tensor, torch.Tensor):
                yield tensor
        state = getattr(state, "state2", None)
    scale = getattr(parameter, "SCB", None)
    if isinstance(scale, torch.Tensor):
        yield scale


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    """Every tensor in the optimizer's state, nested ones too (8-bit optimizers keep tables of blocks)."""
    for state in optimizer.state.values():
        yield from _tensors(state)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)
