"""trace(): what every answer holds, what it refuses, and its one-shot command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunescope.memory.stack import DEFAULT
from tunescope.memory.trace import Trace
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec
from worker.tracer import memoized, step
from worker.tracer.__main__ import main
from worker.tracer.trace import record, trace, workload

pytestmark = pytest.mark.usefixtures("light_collections")

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 8,
    "num_key_value_heads": 4, "intermediate_size": 512, "vocab_size": 2048,
}  # fmt: skip
SITES = {
    "load", "forward_end", "loss_backward", "layer_backward_last", "layer_backward_first", "embedding_backward",
    "optimizer_step",
}  # fmt: skip


def job(**sections: Any) -> JobSpec:
    values = {"model": {"id": "m"}, "data": {"dataset": "d", "max_length": 128}, **sections}
    return parse_spec(values)


RECIPES: dict[str, dict[str, Any]] = {
    "qlora": {},
    "lora": {"precision": {"quantization": "none"}, "adaptation": {"method": "lora", "lora_dropout": 0.1}},
    "int8": {"precision": {"quantization": "int8"}},
    "full": {"precision": {"quantization": "none"}, "adaptation": {"method": "full"}},
    "masters": {"precision": {"quantization": "none", "master_weights": True}, "adaptation": {"method": "full"}},
    "fused loss": {"memory_savers": {"fused_loss": True}},
    "fused loss, full": {
        "memory_savers": {"fused_loss": True}, "precision": {"quantization": "none"}, "adaptation": {"method": "full"},
    },
    "kept activations": {"memory_savers": {"gradient_checkpointing": False, "attention": "eager"}},
    "flash": {"memory_savers": {"attention": "flash_attention_2"}, "batch": {"per_device_train_batch_size": 2}},
    "packed": {"data": {"dataset": "d", "max_length": 128, "packing": True}, "batch": {"per_device_train_batch_size": 2}},
    "one micro batch": {"batch": {"gradient_accumulation_steps": 1}},
    "trained embedding": {"adaptation": {"method": "lora", "modules_to_save": ["embed_tokens", "lm_head"]}},
}  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_every_trace_holds(recipe: str) -> None:
    answer = trace(job(**RECIPES[recipe]), LLAMA)
    assert sum(answer.ledger.values()) == answer.peak_bytes
    assert set(answer.sites) == SITES
    assert max(answer.sites[name] for name in SITES - {"load"}) == answer.peak_bytes == answer.sites[answer.peak_site]
    assert answer.first_step_peak_bytes <= answer.peak_bytes
    assert answer.peak_bytes <= answer.replay.active_peak_bytes <= answer.replay.reserved_peak_bytes
    assert answer.replay.smallest_budget_bytes <= answer.replay.reserved_peak_bytes
    assert 1 <= len(answer.timeline) <= 600
    assert max(sum(point.bytes_by_category.values()) for point in answer.timeline) == answer.peak_bytes
    assert min(answer.ledger.values()) >= 0


@pytest.mark.parametrize("recipe", ["qlora", "lora", "full", "fused loss, full"])
def test_remembered_results_change_no_event(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = job(**RECIPES[recipe])
    work = workload(spec)
    with step.as_on_cuda(work):
        found, remembered = (record(spec, LLAMA, DEFAULT, work, 0) for _ in range(2))
        monkeypatch.setattr(memoized, "REMEMBERED", None)
        worked_out = record(spec, LLAMA, DEFAULT, work, 0)
    assert found == remembered == worked_out


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit",
                                       "paged_adamw_32bit", "adafactor", "sgd"])  # fmt: skip
def test_optimizer_states(optimizer: str) -> None:
    """Full training in bf16 of 256 x 256 matrices and larger: the states are those of each optimizer's sources."""
    answer = trace(job(optimizer={"name": optimizer}, **RECIPES["full"]), LLAMA)
    states = max(point.bytes_by_category.get("optimizer_states", 0) for point in answer.timeline)
    weights = answer.ledger["weights"]
    expected = {
        "adamw_torch": 2.0, "adamw_torch_fused": 2.0, "adamw_8bit": 1.02, "paged_adamw_8bit": 0.23,
        "paged_adamw_32bit": 0.84, "adafactor": 0.016, "sgd": 0.0,
    }  # fmt: skip
    assert states / weights == pytest.approx(expected[optimizer], abs=0.02)


FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {}, "qwen3": {"head_dim": 64}, "gemma": {"head_dim": 64}, "gemma3_text": {"head_dim": 64, "sliding_window": 64},
    "phi": {"num_key_value_heads": 8}, "phi3": {"pad_token_id": 0}, "granite": {}, "gpt_bigcode": {"n_embd": 256, "n_layer": 3, "n_head": 8, "n_positions": 128},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "head_dim": 64},
    "qwen": {"num_key_value_heads": 8, "intermediate_size": 1024},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_families_train_in_full_and_with_adapters(family: str) -> None:
    config = {**LLAMA, "model_type": family, **FAMILIES[family]}
    full = trace(job(**RECIPES["full"]), config)
    adapted = trace(job(adaptation={"method": "lora", "lora_dropout": 0.0}), config)
    assert full.ledger["gradients"] == pytest.approx(full.ledger["weights"], rel=0.01)
    assert adapted.peak_bytes < full.peak_bytes
    assert adapted.ledger["quantization_state"] > 0 and adapted.ledger["adapters"] > 0


def test_the_first_qwen_has_its_own_matrices() -> None:
    """c_attn is one matrix: rank 8 on it is 8 x 256 and 768 x 8 numbers a layer, in fp32."""
    config = {**LLAMA, "model_type": "qwen", "num_key_value_heads": 8, "intermediate_size": 1024}
    adaptation = {"method": "lora", "r": 8, "target_modules": ["c_attn"]}
    answer = trace(job(adaptation=adaptation, precision={"quantization": "none"}), config)
    assert answer.ledger["adapters"] == 3 * 4 * (8 * 256 + 768 * 8)


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"parallelism": {"gpus": 2, "strategy": "zero3"}}, "parallelism.strategy"),
        ({"precision": {"quantization": "gptq-int4"}}, "precision.quantization"),
        ({"adaptation": {"target_modules": ["no_such"]}}, "adaptation.target_modules"),
        ({"data": {"dataset": "d", "max_length": 10_000_000}, "batch": {"per_device_train_batch_size": 1000}}, "data.max_length"),
    ],
)  # fmt: skip
def test_what_cannot_be_traced_names_the_field_and_a_remedy(sections: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        trace(job(**sections), LLAMA)
    assert [error.loc for error in caught.value.errors] == [field]
    assert caught.value.errors[0].fix


@pytest.mark.parametrize("config", [{}, {"model_type": "no-such"}, {**LLAMA, "num_attention_heads": 7}, {**LLAMA, "hidden_size": "x"},
                                    {**LLAMA, "model_type": "t5"}])  # fmt: skip
def test_a_config_that_makes_no_decoder_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        trace(job(), config)
    assert caught.value.errors[0].loc.startswith("config")


@pytest.mark.slow
def test_one_shot_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, config = tmp_path / "spec.json", tmp_path / "config.json"
    spec.write_text(json.dumps({"model": {"id": "m"}, "data": {"dataset": "d", "max_length": 64}}))
    config.write_text(json.dumps(LLAMA))
    command = [sys.executable, "-m", "worker.tracer", str(spec), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert Trace.model_validate_json(done.stdout).peak_bytes > 0
    config.write_text('{"model_type": "mystery"}')
    # In this process, which has the libraries loaded.
    assert main([str(spec), str(config)]) == 2
    assert "unknown architecture" in capsys.readouterr().err
