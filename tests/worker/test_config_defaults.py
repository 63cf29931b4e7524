"""What config.json leaves out is taken as transformers' own configuration class takes it."""

from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.families import FAMILIES

SHAPE: dict[str, Any] = {
    "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "intermediate_size": 512, "vocab_size": 1000,
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "max_position_embeddings": 128,
}  # fmt: skip


@pytest.mark.parametrize("family", [name for name in FAMILIES if name in CONFIG_MAPPING])
def test_defaults_are_those_of_the_configuration_class(family: str) -> None:
    config = {"model_type": family, **SHAPE}
    theirs, ours = CONFIG_MAPPING[family].from_dict(dict(config)), architecture_from_config(config)
    assert ours.tied == theirs.tie_word_embeddings
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or 32)
    assert (ours.kv_heads == 1) == bool(getattr(theirs, "multi_query", False))
    shared = getattr(theirs, "shared_expert_intermediate_size", None)
    assert shared in (None, ours.layers[0].mlp_width)
