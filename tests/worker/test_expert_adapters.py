"""Adapters on mixtures of experts, against the installed peft: which tensors it makes for a name, and what it refuses."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tunescope.memory.advise import advise
from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.devices import DEFAULT_DEVICE
from tunescope.memory.estimate import estimate
from tunescope.memory.persistent import persistent_tensors
from tunescope.memory.stack import DEFAULT
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec
from worker.trainer.modules import NoModule, refuse_unmatched

TINY = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
    "vocab_size": 256, "head_dim": 16, "num_experts_per_tok": 2, "tie_word_embeddings": False,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "mixtral": {"model_type": "mixtral", **TINY, "num_local_experts": 4},
    "qwen2_moe": {
        "model_type": "qwen2_moe", **TINY, "num_experts": 4, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 80,
    },
    "qwen3_moe": {"model_type": "qwen3_moe", **TINY, "num_experts": 4, "moe_intermediate_size": 48},
    "qwen3_moe with a dense layer": {
        "model_type": "qwen3_moe", **TINY, "num_experts": 4, "moe_intermediate_size": 48, "mlp_only_layers": [0],
    },
}  # fmt: skip
TARGETS: list[Any] = [
    "all-linear", ["q_proj", "v_proj"], ["w1", "w2", "w3"], ["gate_proj", "up_proj", "down_proj"], ["q_proj", "down_proj"],
    ["gate"], ["q_proj", "gate"], ["q_proj", "w1"], ["q_proj", "up_proj"], ["q_proj", "w2"], ["q_proj", "gate_up_proj"],
]  # fmt: skip
SETTINGS: list[dict[str, Any]] = [{"lora_dropout": 0.0}, {"lora_dropout": 0.1}, {"lora_dropout": 0.0, "use_dora": True}]


def bare(config: dict[str, Any]) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(CONFIG_MAPPING[config["model_type"]].from_dict(config))


def trained_by_peft(spec: JobSpec, config: dict[str, Any]) -> int | None:
    """Parameters that the real model trains; None where the trainer or peft refuses."""
    model, adaptation = bare(config), spec.adaptation
    try:
        refuse_unmatched(model, adaptation)
        lora = LoraConfig(
            task_type="CAUSAL_LM", r=adaptation.r, lora_dropout=adaptation.lora_dropout, use_dora=adaptation.use_dora,
            target_modules=adaptation.target_modules, modules_to_save=adaptation.modules_to_save or None,
        )  # fmt: skip
        with torch.device("meta"):
            adapted: Any = get_peft_model(model, lora)
    except (NoModule, ValueError):
        return None
    return sum(item.numel() for item in adapted.parameters() if item.requires_grad)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_what_trains_is_what_peft_trains(name: str, targets: Any) -> None:
    config = MODELS[name]
    architecture = architecture_from_config(config)
    for settings in SETTINGS:
        spec = parse_spec(
            {
                "model": {"id": "m"}, "data": {"dataset": "d"}, "precision": {"quantization": "none"},
                "adaptation": {"r": 4, "target_modules": targets, **settings},
            }
        )  # fmt: skip
        real = trained_by_peft(spec, config)
        try:
            found = estimate(spec, architecture)
            unmatched = persistent_tensors(spec, architecture, DEFAULT).unmatched
            counted = None if unmatched else found.trainable_parameters
        except InvalidInput as refusal:
            assert all(error.loc.startswith("adaptation.") and error.fix for error in refusal.errors)
            counted = None
        assert counted == real, settings


@pytest.mark.parametrize(
    "adaptation",
    [
        {"target_modules": ["q_proj", "lm_head"]}, {"target_modules": ["q_proj", "q_proj"]},
        {"target_modules": ["lm_head"]}, {"target_modules": ["embed_tokens", "v_proj"]},
        {"modules_to_save": ["norm"]}, {"modules_to_save": ["input_layernorm"]},
        {"modules_to_save": ["lm_head", "lm_head"]}, {"modules_to_save": ["model.embed_tokens", "embed_tokens"]},
    ],
    ids=str,
)  # fmt: skip
def test_names_outside_the_layers_train_what_peft_trains(adaptation: dict[str, Any]) -> None:
    config: dict[str, Any] = {"model_type": "llama", **TINY}
    spec = parse_spec(
        {
            "model": {"id": "m"}, "data": {"dataset": "d"}, "precision": {"quantization": "none"},
            "adaptation": {"r": 4, "target_modules": ["q_proj"], **adaptation},
        }
    )  # fmt: skip
    found = persistent_tensors(spec, architecture_from_config(config), DEFAULT)
    assert found.unmatched == ()
    assert found.trained_elements == trained_by_peft(spec, config)


def test_advice_to_train_adapters_turns_their_dropout_off() -> None:
    spec = parse_spec(
        {"model": {"id": "m"}, "data": {"dataset": "d"}, "precision": {"quantization": "none"}, "adaptation": {"method": "full"}}
    )  # fmt: skip
    architecture = architecture_from_config({**MODELS["mixtral"], "hidden_size": 2048, "intermediate_size": 4096})
    patches = {item.change.id: item.change.patch for item in advise(spec, architecture, DEFAULT_DEVICE).suggestions}
    assert patches["lora"]["adaptation.lora_dropout"] == 0.0
