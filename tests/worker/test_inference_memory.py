"""The memory of asking a model, by its formula, against every tensor that lives while a real one answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chat_cache import MODELS, SPEC, reserved
from tests.worker.measured_run import spec_of
from tests.worker.tiny import save_tiny
from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEVICES
from tunescope.memory.inference import USUAL_CONTEXT, estimate_inference, usual_context

TOKENS = 256
SCALARS = 64
"""Bytes of what is not by the token: flags and lengths."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    return lambda **config: save_tiny(tmp_path_factory.mktemp("tiny"), **config)


@pytest.mark.parametrize("config", [{}, {"num_key_value_heads": 1}, {"tie_word_embeddings": True}])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_formula_is_what_lives(saved: Callable[..., Path], config: dict[str, Any], lora: bool, dtype: str) -> None:
    beside, predicted = asked_beside(saved, config, {"method": "lora" if lora else "full"}, dtype)
    assert abs(beside - predicted["activations"] - predicted["logits_and_loss"]) <= SCALARS


def test_what_dora_weighs_at_each_pass_is_not_less_than_told(saved: Callable[..., Path]) -> None:
    beside, predicted = asked_beside(saved, {}, {"method": "lora", "use_dora": True}, "bfloat16")
    plain = estimate_inference(spec_of(), catalogue("Qwen/Qwen2.5-7B-Instruct"), TOKENS).ledger["workspace"]
    weighed = predicted["workspace"] - plain
    told = weighed + predicted["activations"] + predicted["logits_and_loss"]
    assert weighed > 0 and beside <= told <= 1.35 * beside


def asked_beside(
    saved: Callable[..., Path], config: dict[str, Any], adaptation: dict[str, Any], dtype: str
) -> tuple[int, dict[str, int]]:
    """(bytes that live at the highest moment beside weights and cache, what is predicted) while a real model answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from worker.chat.cache import held_by, reserved_cache
    from worker.tracer.follower import Follower

    folder = saved(**config)
    architecture = architecture_from_config(json.loads((folder / "config.json").read_text()))
    sections = {
        "precision": {"quantization": "none", "dtype": dtype},
        "adaptation": adaptation,
    }
    predicted = estimate_inference(spec_of(**sections), architecture, TOKENS).ledger
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    if adaptation["method"] == "lora":
        dora = adaptation.get("use_dora", False)
        adapter = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear", use_dora=dora)
        model = get_peft_model(model, adapter).to(getattr(torch, dtype))
    model.eval().requires_grad_(False)
    follower = Follower("cpu", 1)
    follower.register_model(model, "weights")
    loaded = follower.current
    cache = reserved_cache(model.config, TOKENS)
    asked = torch.ones(1, TOKENS, dtype=torch.long)
    with torch.no_grad(), follower:
        follower.enter("forward", "forward_end", "activations")
        follower.reset_peaks()
        model.generate(
            input_ids=asked,
            attention_mask=torch.ones_like(asked),
            past_key_values=cache,
            max_new_tokens=1,
            do_sample=False,
        )
    assert held_by(cache) == (TOKENS, predicted["kv_cache"], predicted["kv_cache"])
    tensors = sum(1 for _ in model.parameters())
    rounding = predicted["weights"] + predicted["adapters"] - loaded
    assert -512 <= rounding < 512 * tensors, "CUDA hands out multiples of 512 bytes"
    return follower.peak - loaded - predicted["kv_cache"], predicted


def test_what_else_it_takes_is_counted_on_a_gpu() -> None:
    model = catalogue("Qwen/Qwen2.5-7B-Instruct")
    tokens = usual_context(model)
    assert tokens == USUAL_CONTEXT
    nf4 = spec_of(precision={"quantization": "nf4"})
    found = estimate_inference(nf4, model, tokens, DEVICES["RTX4090-24GB"])
    # Qwen2.5-7B: 28 layers of 4 key heads of 128, in 16 bit: 56 KiB a token (its config.json).
    assert found.kv_bytes_per_token == 2 * 28 * 4 * 128 * 2
    assert found.ledger["kv_cache"] == tokens * found.kv_bytes_per_token
    assert found.ledger["workspace"] > 18944 * 3584 * 2, "the largest 4-bit matrix is unpacked for its product"
    assert found.interval[0] < found.total_bytes < found.interval[1]
    eager = spec_of(precision={"quantization": "nf4"}, memory_savers={"attention": "eager"})
    scores = estimate_inference(eager, model, tokens).ledger["activations"] - found.ledger["activations"]
    assert scores > 28 * tokens * tokens * (2 + 4), "a score and its float32 softmax for each head and pair of tokens"


@pytest.mark.parametrize(("name", "longest"), MODELS)
def test_the_gaps_of_the_allocator_are_within_what_is_predicted(name: str, longest: int) -> None:
    model = catalogue(name)
    ledger = estimate_inference(SPEC, model, longest).ledger
    predicted = sum(ledger[part] for part in ("kv_cache", "activations", "logits_and_loss", "fragmentation"))
    for begin in (32, longest // 2, longest - 16):
        assert reserved(model, begin, longest, grows=False) <= predicted


@pytest.mark.parametrize("window", [None, 128, 32])
def test_a_cache_that_is_taken_once_says_the_same(window: int | None) -> None:
    """Also beside windows: one that the conversation fills, and one that it does not."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from worker.chat.cache import ReservedLayer, held_by, reserved_cache

    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=99, num_key_value_heads=2, sliding_window=window, **sizes)
    model: Any = MistralForCausalLM(config).eval()
    asked = torch.arange(1, 41).reshape(1, 40)
    options = {"attention_mask": torch.ones_like(asked), "max_new_tokens": 24, "do_sample": False, "eos_token_id": None}
    cache = reserved_cache(model.config, 64)
    mine = model.generate(asked, past_key_values=cache, **options)
    assert torch.equal(mine, model.generate(asked, **options)), "as with transformers' own"
    tokens, used, taken = held_by(cache)
    assert tokens == 63, "the last token's are not made"
    if window != 32:
        assert all(isinstance(layer, ReservedLayer) for layer in cache.layers) and used == taken * 63 // 64
