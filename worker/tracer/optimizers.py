"""The optimizer of a job on meta tensors: transformers' choice for each name, with the states and temporaries it makes."""

from typing import Any

import torch
from bitsandbytes.optim.adamw import AdamW
from torch import nn
from transformers.optimization import Adafactor
from transformers.trainer_pt_utils import get_parameter_names

from tunescope.spec import JobSpec

NO_DECAY = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
"""transformers' ``Trainer.get_decay_parameter_names``: each group takes its own foreach temporaries."""


def make(spec: JobSpec, model: nn.Module) -> torch.optim.Optimizer:
    groups, rate, name = parameter_groups(spec, model), spec.optimizer.learning_rate, spec.optimizer.name
    if name == "adamw_torch":
        return torch.optim.AdamW(groups, lr=rate, foreach=True)
    if name == "adamw_torch_fused":
        return FusedAdamW(groups, lr=rate)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, foreach=True)
    if name == "adafactor":
        return Adafactor(groups, lr=rate, scale_parameter=False, relative_step=False)
    return BlockwiseAdamW(groups, lr=rate, optim_bits=8 if "8bit" in name else 32, is_paged=name.startswith("paged"))


def parameter_groups(spec: JobSpec, model: nn.Module) -> list[dict[str, Any]]:
    decayed = set(get_parameter_names(model, [nn.LayerNorm], NO_DECAY))
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [item for name, item in trained if name in decayed], "weight_decay": spec.optimizer.weight_decay},
        {"params": [item for name, item in trained if name not in decayed], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class FusedAdamW(torch.optim.Optimizer):
    """``AdamW(fused=True)``: two moments and a step counter on the device per tensor, no temporaries."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter not in self.state:
                    self.state[parameter] = {
                        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }


class BlockwiseAdamW(AdamW):
    """bitsandbytes' own states. Its kernels work in place; paged states are managed memory, not the allocator's."""

    def get_state_buffer(self, p: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        if self.is_paged and p.numel() >= 1e5:
            return torch.empty(0, dtype=dtype)
        return torch.zeros_like(p, dtype=dtype)

    def prefetch_state(self, p: torch.Tensor) -> None:
        """Moves pages, allocates nothing."""

    def update_step(self, group: Any, p: torch.Tensor, gindex: int, pindex: int) -> None:
        """In place."""
