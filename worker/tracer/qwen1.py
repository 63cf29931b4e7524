"""The first Qwen models, which transformers does not ship: Qwen2's decoder with that model's matrices and their names.

``modeling_qwen.py`` of Qwen/Qwen-7B: one ``c_attn`` for q, k and v (with bias), ``c_proj`` after attention and in the MLP,
``w1 * silu(w2)``; ``intermediate_size`` counts both halves of the MLP.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb, eager_attention_forward

from tunescope.spec import Adaptation


def as_qwen2(config: dict[str, Any]) -> dict[str, Any]:
    """The same dimensions in Qwen2's terms."""
    heads = config.get("num_attention_heads")
    return {
        "model_type": "qwen2",
        "hidden_size": config.get("hidden_size"),
        "num_hidden_layers": config.get("num_hidden_layers"),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": config.get("intermediate_size", 0) // 2,
        "vocab_size": config.get("vocab_size"),
        "tie_word_embeddings": False,
    }


class Attention(nn.Module):
    is_causal = True
    num_key_value_groups = 1

    def __init__(self, config: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.c_attn = nn.Linear(config.hidden_size, 3 * config.hidden_size, dtype=dtype)
        self.c_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False, dtype=dtype)

    def forward(
        self, hidden_states: torch.Tensor, position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None, **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]:  # fmt: skip
        shape = hidden_states.shape[:-1]
        mixed = self.c_attn(hidden_states).split(self.config.hidden_size, dim=2)
        query, key, value = (item.view(*shape, -1, self.head_dim).transpose(1, 2) for item in mixed)
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        out, weights = attend(self, query, key, value, attention_mask, dropout=0.0, scaling=self.head_dim**-0.5)
        return self.c_proj(out.reshape(*shape, -1).contiguous()), weights


class Mlp(nn.Module):
    def __init__(self, config: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False, dtype=dtype)
        self.w2 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False, dtype=dtype)
        self.c_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False, dtype=dtype)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        first, second = self.w1(hidden), self.w2(hidden)
        return self.c_proj(first * F.silu(second))


def reshape(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Give every layer of a Qwen2 model the first Qwen's attention and MLP."""
    backbone: Any = model.base_model
    for layer in backbone.layers:
        layer.attn = Attention(model.config, dtype)
        layer.mlp = Mlp(model.config, dtype)
        # The layer's forward calls it self_attn; the module is registered, and named, only once.
        del layer.self_attn
        object.__setattr__(layer, "self_attn", layer.attn)


def in_qwen2_terms(adaptation: Adaptation, model: PreTrainedModel) -> Adaptation:
    """Modules to train in full, by the names that a reshaped model still has from Qwen2."""
    if not any(isinstance(module, Mlp) for module in model.modules()):
        return adaptation
    named = ["embed_tokens" if name.split(".")[-1] == "wte" else name for name in adaptation.modules_to_save]
    return adaptation.model_copy(update={"modules_to_save": named})
