"""What config.json leaves out is taken as transformers' own configuration class takes it."""

from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.families import FAMILIES

SHAPE: dict[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 32, "intermediate_size": 512, "vocab_size": 1000,
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "max_position_embeddings": 128,
}  # fmt: skip


@pytest.mark.parametrize("family", [name for name in FAMILIES if name in CONFIG_MAPPING])
def test_defaults_are_those_of_the_configuration_class(family: str) -> None:
    config = {"model_type": family, **SHAPE}
    theirs, ours = CONFIG_MAPPING[family].from_dict(dict(config)), architecture_from_config(config)
    assert ours.tied == theirs.tie_word_embeddings
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or 32)
    shares = getattr(theirs, "multi_query", False)
    assert ours.kv_heads == (1 if shares else getattr(theirs, "num_key_value_heads", 32))
    shared = getattr(theirs, "shared_expert_intermediate_size", None)
    assert shared in (None, ours.layers[0].mlp_width)


@pytest.mark.parametrize("family", ["llama", "qwen2", "smollm3"])
def test_a_null_is_as_many_heads_of_keys_as_of_queries(family: str) -> None:
    config = {"model_type": family, **SHAPE, "num_key_value_heads": None}
    theirs: Any = CONFIG_MAPPING[family].from_dict(dict(config))
    assert architecture_from_config(config).kv_heads == theirs.num_key_value_heads == 32


def test_gemma_3_is_read_as_published() -> None:
    """The text_config of google/gemma-3-4b-it says no more than this."""
    config = {
        "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024,
    }  # fmt: skip
    theirs: Any = CONFIG_MAPPING["gemma3_text"].from_dict(dict(config))
    ours = architecture_from_config(config)
    assert (ours.heads, ours.kv_heads) == (theirs.num_attention_heads, theirs.num_key_value_heads)
    assert (ours.head_dim, ours.vocab) == (theirs.head_dim, theirs.vocab_size)
    windowed = [kind == "sliding_attention" for kind in theirs.layer_types]
    assert sum(layer.count for layer in ours.layers if layer.window) == sum(windowed)
    # The text model's published count, whose table has 64 rows less than the configuration says.
    assert ours.parameter_count == 3_880_099_328 + 64 * 2560
