"""Whatever is asked: an estimate that adds up, or an error that names the field. Never a traceback, a negative or a silent number."""

import json
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunescope.cli.main import main
from tunescope.memory.advise import advise
from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.catalogue import catalogue, entries
from tunescope.memory.devices import DEVICES
from tunescope.memory.estimate import estimate
from tunescope.memory.explain import Subject, explain
from tunescope.memory.families import FAMILIES
from tunescope.memory.stack import STACKS
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2,
    "intermediate_size": 512, "vocab_size": 1000, "tie_word_embeddings": False,
}  # fmt: skip
WINDOWED: dict[str, Any] = {**LLAMA, "model_type": "gemma3_text", "sliding_window": 512}
MIXTURE: dict[str, Any] = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
FIELDS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size",
    "num_experts", "num_local_experts", "num_experts_per_tok", "moe_intermediate_size", "max_position_embeddings", "decoder_sparse_step",
    "mlp_only_layers", "shared_expert_intermediate_size", "tie_word_embeddings", "attention_bias", "mlp_bias", "multi_query",
    "quantization_config", "layer_types", "new_decoder_architecture",
)  # fmt: skip
anything = (
    st.none() | st.booleans() | st.integers(-(10**3), 10**3) | st.integers() | st.floats() | st.text(max_size=3)
    | st.lists(st.integers(-2, 5), max_size=3) | st.sampled_from([8, 64, 256, 4096, 10**12, {"quant_method": "awq"}, {"bits": 4}])
    | st.fixed_dictionaries({"quant_method": st.sampled_from(["gptq", "bitsandbytes"]), "bits": st.sampled_from([4, 8, 3])}, optional={
        name: st.none() | st.booleans() | st.integers(-2, 200) | st.sampled_from(["nf4", [], 10**30])
        for name in ("group_size", "desc_act", "load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant")
    })
)  # fmt: skip
configs = st.builds(
    lambda family, base, changes: {**(LLAMA if base else {}), "model_type": family, **changes},
    st.sampled_from([*FAMILIES, "mamba", None, 7]),
    st.booleans(),
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=6),
)


def spec_of(**sections: Any) -> JobSpec:
    sections.setdefault("data", {"dataset": "d"})
    return parse_spec({"model": {"id": "m"}, **sections})


@st.composite
def spec_values(draw: st.DrawFn) -> dict[str, Any]:
    method = draw(st.sampled_from(["lora", "full"]))
    strategy = draw(st.sampled_from(["none", "ddp", "zero1", "zero2", "zero3", "fsdp"]))
    quantization = draw(st.sampled_from(["none", "nf4", "fp4", "int8", "gptq-int4", "gptq-int8"]))
    return {
        "model": {"id": "m"},
        "adaptation": {
            "method": method,
            "r": draw(st.sampled_from([1, 8, 64, 4096])),
            "lora_dropout": draw(st.sampled_from([0.0, 0.1])),
            "target_modules": draw(st.sampled_from(["all-linear", ["q_proj"], ["nothing"], ["down_proj", "nothing"], []])),
            "modules_to_save": draw(st.sampled_from([[], ["lm_head"], ["embed_tokens", "norm"], ["nothing"]])),
            "use_dora": draw(st.booleans()),
        },
        "precision": {
            "quantization": "none" if method == "full" else quantization,
            "dtype": draw(st.sampled_from(["bfloat16", "float16", "float32"])),
            "master_weights": draw(st.booleans()),
            "double_quant": draw(st.booleans()),
            "adapter_dtype": draw(st.sampled_from(["float32", "bfloat16"])),
        },
        "batch": {"per_device_train_batch_size": draw(st.sampled_from([1, 3, 65536]))},
        "parallelism": {
            "gpus": 1 if strategy == "none" else draw(st.sampled_from([1, 2, 8, 1024])),
            "strategy": strategy,
            "offload": "none" if strategy in ("none", "ddp") else draw(st.sampled_from(["none", "optimizer", "all"])),
        },
        "data": {"dataset": "d", "max_length": draw(st.sampled_from([8, 2048, 10_000_000])), "packing": draw(st.booleans())},
        "memory_savers": {
            "gradient_checkpointing": draw(st.booleans()),
            "attention": draw(st.sampled_from(["eager", "sdpa", "flash_attention_2"])),
            "fused_loss": draw(st.booleans()),
            "expandable_segments": draw(st.booleans()),
        },
        "optimizer": {
            "name": draw(st.sampled_from(["adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd"]))
        },
    }  # fmt: skip


def assert_adds_up(answer: dict[str, Any]) -> None:
    assert sum(answer["ledger"].values()) == answer["total_bytes"] > 0
    assert min(answer["ledger"].values()) >= 0
    low, high = answer["interval"]
    assert 0 <= low <= answer["total_bytes"] <= high
    assert 0 < answer["allocated_bytes"] <= answer["total_bytes"]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(configs)
def test_any_config_is_estimated_or_refused_by_field(config: dict[str, Any]) -> None:
    try:
        model = architecture_from_config(config)
        answer = estimate(spec_of(), model).to_dict()
    except InvalidInput as refused:
        assert refused.errors and all(error.loc and error.message for error in refused.errors)
        return
    assert_adds_up(answer)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(spec_values(), st.sampled_from(sorted(entries())), st.sampled_from(sorted(STACKS)))
def test_any_spec_on_any_model_is_estimated_or_refused_by_field(values: dict[str, Any], name: str, stack: str) -> None:
    try:
        answer = estimate(parse_spec(values), catalogue(name), stack=STACKS[stack]).to_dict()
    except InvalidInput as refused:
        assert refused.errors and all(error.loc and error.message for error in refused.errors)
        return
    assert_adds_up(answer)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(spec_values(), spec_values(), st.sampled_from(sorted(entries())), st.sampled_from(sorted(entries())))
def test_any_two_that_can_be_estimated_can_be_explained(
    left: dict[str, Any], right: dict[str, Any], one: str, other: str
) -> None:
    try:
        a, b = Subject("a", parse_spec(left), catalogue(one)), Subject("b", parse_spec(right), catalogue(other))
        totals = [estimate(side.spec, side.architecture).total_bytes for side in (a, b)]
    except InvalidInput:
        return
    assert sum(part.bytes for part in explain(a, b).parts) == totals[1] - totals[0]
    assert advise(a.spec, a.architecture, DEVICES["T4-16GB"]).to_dict()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({**LLAMA, "quantization_config": {"quant_method": "awq", "bits": 4}}, "config.quantization_config"),
        ({**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 3}}, "config.quantization_config"),
        ({**LLAMA, "quantization_config": "4bit"}, "config.quantization_config"),
        ({**LLAMA, "tie_word_embeddings": "yes"}, "config.tie_word_embeddings"),
        ({**LLAMA, "num_hidden_layers": None}, "config.num_hidden_layers"),
        ({**LLAMA, "vocab_size": 1e6}, "config.vocab_size"),
        ({**LLAMA, "num_hidden_layers": 10**400}, "config.num_hidden_layers"),
        ({**LLAMA, "model_type": "qwen2", "num_key_value_heads": 3}, "config.num_key_value_heads"),
        ({key: LLAMA[key] for key in LLAMA if key != "num_key_value_heads"} | {"model_type": "qwen2"}, "config.num_key_value_heads"),
        ({"model_type": "gemma3", "text_config": {}}, "config.model_type"),
        ({**WINDOWED, "layer_types": "sliding_attention"}, "config.layer_types"),
        ({**WINDOWED, "layer_types": ["sliding_attention", "linear_attention"]}, "config.layer_types"),
        ({**WINDOWED, "layer_types": [["sliding_attention"], 1]}, "config.layer_types"),
        ({**WINDOWED, "layer_types": ["full_attention"]}, "config.layer_types"),
        ({**LLAMA, "model_type": "gpt_bigcode", "multi_query": "false"}, "config.multi_query"),
        ({**LLAMA, "num_hidden_layers": 10_000}, "config.num_hidden_layers"),
        ({**LLAMA, "model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 2, "mlp_only_layers": "0"}, "config.mlp_only_layers"),
    ],
)  # fmt: skip
def test_an_absurd_config_is_refused_by_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        architecture_from_config(config)
    assert field in {error.loc for error in caught.value.errors}


def test_the_rank_is_held_against_the_layers_that_get_adapters() -> None:
    model = architecture_from_config(LLAMA)
    estimate(spec_of(adaptation={"r": 256, "target_modules": ["q_proj"]}), model)
    with pytest.raises(InvalidInput, match=r"adaptation\.r"):
        estimate(spec_of(adaptation={"r": 256, "target_modules": ["q_proj", "k_proj"]}), model)


def test_a_billion_tokens_are_refused_by_field() -> None:
    with pytest.raises(InvalidInput, match=r"data\.max_length"):
        spec_of(data={"dataset": "d", "max_length": 10**9})


def written(path: Path, values: object) -> str:
    path.write_text(json.dumps(values))
    return str(path)


def test_the_command_takes_a_config_file_or_a_model_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    config = written(folder / "config.json", LLAMA)
    by_name = written(tmp_path / "a.json", {"model": {"id": "nobody/nothing"}, "data": {"dataset": "d"}})
    by_path = written(tmp_path / "b.json", {"model": {"id": str(folder)}, "data": {"dataset": "d"}})
    answers: list[dict[str, Any]] = []
    for arguments in ([by_name, "--config", config], [by_name, "--config", str(folder)], [by_path]):
        assert main(["estimate", *arguments, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["ledger"] == answers[1]["ledger"] == answers[2]["ledger"]


def test_the_command_says_what_to_do_about_a_model_it_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = written(tmp_path / "a.json", {"model": {"id": "nobody/nothing"}, "data": {"dataset": "d"}})
    assert main(["estimate", spec]) == 2
    assert "--config FILE" in " ".join(capsys.readouterr().err.split())
    broken = tmp_path / "config.json"
    for text in ("not json", "[]", "{"):
        broken.write_text(text)
        assert main(["estimate", spec, "--config", str(broken)]) == 2
        assert "--config" in capsys.readouterr().err
    assert main(["estimate", spec, "--config", str(tmp_path / "missing.json")]) == 2


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (LLAMA, "hidden_size"),
        (LLAMA, "num_attention_heads"),
        (LLAMA, "num_key_value_heads"),
        (MIXTURE, "num_local_experts"),
        ({**WINDOWED, "layer_types": ["full_attention"]}, "num_hidden_layers"),
    ],
)
def test_a_number_that_cannot_be_is_told_once_and_nothing_is_compared_with_it(
    config: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        architecture_from_config({**config, field: -4096})
    assert [(error.loc, error.type) for error in refused.value.errors] == [(f"config.{field}", "outside_in_config")]


@pytest.mark.parametrize(
    ("told", "kv_heads"),
    [
        ({}, 1),
        ({"num_kv_heads": 8}, 1),
        ({"num_kv_heads": 4, "new_decoder_architecture": True}, 4),
        ({"new_decoder_architecture": True}, 8),
        ({"multi_query": False}, 8),
    ],
)
def test_falcon_reads_its_key_and_value_heads_as_transformers_does(told: dict[str, Any], kv_heads: int) -> None:
    """``num_kv_heads`` stands in every saved config.json, and counts in the newer decoder only."""
    config = {key: LLAMA[key] for key in LLAMA if key != "num_key_value_heads"} | {"model_type": "falcon"}
    assert architecture_from_config({**config, **told}).kv_heads == kv_heads


def test_mixtures_of_many_experts_on_old_versions_are_estimated_at_once() -> None:
    """Each expert runs alone there, and without checkpointing each leaves tensors of its own in every layer."""
    config = {
        **MIXTURE, "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    }  # fmt: skip
    spec = spec_of(
        adaptation={"lora_dropout": 0.0}, precision={"quantization": "none"}, memory_savers={"gradient_checkpointing": False},
        data={"dataset": "d", "max_length": 3000},
    )  # fmt: skip
    model, stack = architecture_from_config(config), STACKS["swift-2024"]
    before = process_time()
    estimate(spec, model, DEVICES["H200-141GB"], stack=stack)
    assert process_time() - before < 0.3
