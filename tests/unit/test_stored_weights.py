"""Checkpoints that come quantized: read from their own ``quantization_config``, counted by it, and asked for as they are."""

from typing import Any

import pytest

from tunescope.memory.architecture import Architecture, architecture_from_config
from tunescope.memory.estimate import estimate
from tunescope.memory.explain import Subject, explain
from tunescope.memory.stack import STACKS
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4,
    "intermediate_size": 512, "vocab_size": 1024, "tie_word_embeddings": False,
}  # fmt: skip
BNB = {"quant_method": "bitsandbytes", "load_in_8bit": False, "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
NESTED = {**BNB, "bnb_4bit_use_double_quant": True}
GPTQ = {"quant_method": "gptq", "bits": 4}


def stored(**told: Any) -> Architecture:
    return architecture_from_config({**LLAMA, "quantization_config": told})


def spec_of(quantization: str, double_quant: bool = True, tokens: int = 512) -> JobSpec:
    return parse_spec(
        {
            "model": {"id": "m"},
            "data": {"dataset": "d", "max_length": tokens},
            "precision": {"quantization": quantization, "double_quant": double_quant, "dtype": "float16"},
        }
    )


def refused_fields(spec: JobSpec, model: Architecture) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        estimate(spec, model)
    assert all(error.fix for error in caught.value.errors)
    return {error.loc for error in caught.value.errors}


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (GPTQ, "gptq-int4"),
        ({**GPTQ, "bits": 8}, "gptq-int8"),
        (NESTED, "nf4"),
        ({key: value for key, value in NESTED.items() if key != "quant_method"}, "nf4"),
        ({**NESTED, "bnb_4bit_quant_type": "fp4"}, "fp4"),
        ({key: value for key, value in NESTED.items() if key != "bnb_4bit_quant_type"}, "fp4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}, "int8"),
    ],
)
def test_a_quantized_checkpoint_must_be_asked_for_as_it_is(told: dict[str, Any], kind: str) -> None:
    model = stored(**told)
    assert estimate(spec_of(kind), model).total_bytes > 0
    for other in {"none", "nf4", "fp4", "int8", "gptq-int4", "gptq-int8"} - {kind}:
        assert refused_fields(spec_of(other), model) == {"precision.quantization"}


@pytest.mark.parametrize("nested", [True, False])
def test_nested_constants_must_be_asked_for_as_they_are(nested: bool) -> None:
    model = stored(**{**BNB, "bnb_4bit_use_double_quant": nested})
    assert estimate(spec_of("nf4", nested), model).total_bytes > 0
    assert refused_fields(spec_of("nf4", not nested), model) == {"precision.double_quant"}


@pytest.mark.parametrize(
    ("told", "matrices"),
    [
        # (scales of 2 bytes, packed zeros, 4 bytes of g_idx an input) of q, k, v, o; of gate and up; of down.
        ({"group_size": 32}, ((4096, 1024, 1024), (8192, 2048, 1024), (8192, 2048, 2048))),
        ({"group_size": 128, "desc_act": True}, ((1024, 512, 1024), (2048, 512, 1024), (2048, 512, 2048))),
        ({}, ((1024, 512, 1024), (2048, 512, 1024), (2048, 512, 2048))),
        ({"group_size": -1}, ((512, 512, 1024), (1024, 512, 1024), (512, 512, 2048))),
    ],
)
def test_gptq_groups_are_the_checkpoints_own(
    told: dict[str, Any], matrices: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
) -> None:
    """Counted by hand, each tensor in multiples of 512 bytes."""
    attention, wide, down = (sum(tensors) for tensors in matrices)
    ledger = estimate(spec_of("gptq-int4"), stored(**GPTQ, **told)).ledger
    assert ledger["quantization_state"] == 4 * attention + 2 * wide + down


def test_matrices_that_a_checkpoint_leaves_whole_are_counted_whole() -> None:
    """As in checkpoints that skip single layers: one of two MLPs, and all output projections."""
    told = {**NESTED, "llm_int8_skip_modules": ["lm_head", "model.layers.1.mlp", "o_proj"]}
    spec = spec_of("nf4")
    some, none = (
        estimate(
            spec, architecture_from_config({**LLAMA, "num_hidden_layers": 2, "quantization_config": config})
        ).ledger
        for config in (told, NESTED)
    )
    numbers = 3 * 256 * 512 + 2 * 256 * 256
    assert some["weights"] - none["weights"] == numbers * 2 - numbers // 2
    # absmax of one byte for 64 numbers, nested absmax, codes and offset, each of the five in multiples of 512 bytes.
    assert none["quantization_state"] - some["quantization_state"] == 3 * (2048 + 4 * 512 + 512) + 2 * (
        1024 + 4 * 512 + 512
    )


def test_gathered_scales_make_restoring_dearer_where_matrices_are_restored_in_plain_torch() -> None:
    spec, stack = spec_of("gptq-int4", tokens=8), next(item for item in STACKS.values() if item.gptq_keeps_weights)
    plain, reordered = (estimate(spec, stored(**GPTQ, desc_act=order), stack=stack) for order in (False, True))
    assert max(site.total_bytes for site in reordered.sites if site.name.startswith("layer")) > max(
        site.total_bytes for site in plain.sites if site.name.startswith("layer")
    )


def test_a_difference_of_groups_is_the_models() -> None:
    a, b = (Subject(str(size), spec_of("gptq-int4"), stored(**GPTQ, group_size=size)) for size in (32, -1))
    found = explain(a, b)
    moved = {part.section: part.bytes for part in found.parts if part.bytes}
    assert moved == {"model": found.estimate_b.total_bytes - found.estimate_a.total_bytes}
    assert moved["model"] < 0


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"quant_method": "awq", "bits": 4}, ""),
        ({"quant_method": "gptq", "bits": 3}, ""),
        ({"quant_method": "gptq", "bits": 4.0}, ""),
        ({**GPTQ, "group_size": 0}, ".group_size"),
        ({**GPTQ, "group_size": "128"}, ".group_size"),
        ({**GPTQ, "group_size": 10**30}, ".group_size"),
        ({**GPTQ, "desc_act": "yes"}, ".desc_act"),
        ({**BNB, "load_in_4bit": False}, ""),
        ({**BNB, "load_in_8bit": True}, ""),
        ({**BNB, "load_in_4bit": "yes"}, ".load_in_4bit"),
        ({**BNB, "bnb_4bit_quant_type": "nf3"}, ".bnb_4bit_quant_type"),
        ({**BNB, "llm_int8_skip_modules": "lm_head"}, ".llm_int8_skip_modules"),
        ({**BNB, "llm_int8_skip_modules": [1]}, ".llm_int8_skip_modules"),
        ({**BNB, "bnb_4bit_use_double_quant": 1}, ".bnb_4bit_use_double_quant"),
    ],
)
def test_what_is_not_known_is_refused_by_field(told: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        stored(**told)
    assert f"config.quantization_config{field}" in {error.loc for error in caught.value.errors}
