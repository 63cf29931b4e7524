"""Traces against published A100 runs, and against real training steps on the CPU followed byte by byte."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from benchmarks.trace_published import RUNS, Run, shown_by_smi
from worker.tracer.follower import Event, Follower

pytestmark = pytest.mark.usefixtures("light_collections")

SMI_WITHIN = 0.05
BEYOND = {"PowerLM-3B QLoRA b8": 0.055}
"""nvidia-smi of this row is 5.1 % above the replay's. Its peak allocated agrees to 0.006 %, so the tensors are right; what
was cached beside them, or taken outside torch, is not known: PowerLM ran on other versions (transformers 4.45.2)."""


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_published_runs(run: Run) -> None:
    answer = run.trace()
    # PowerLM's measured peaks are known to five digits only.
    assert answer.peak_bytes == pytest.approx(run.peak, rel=0.0001 if run.model == "Mistral-7B" else 0.0005)
    assert shown_by_smi(answer) == pytest.approx(run.smi, rel=BEYOND.get(run.name, SMI_WITHIN))


SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "vocab_size": 256, "attn_implementation": "eager", "use_cache": False,
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "llama": LlamaConfig(**SHAPE),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen3": Qwen3Config(**SHAPE, head_dim=16),
    "gemma": GemmaConfig(**SHAPE, head_dim=16),
}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def followed(config: Any, device: str, checkpointing: bool) -> Follower:
    """Two full training steps, every birth and death followed to the byte."""
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        ids = torch.zeros((2, 24), dtype=torch.int64)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=True)
    follower = Follower(device, round_to=1, record=True)
    follower.register_model(model, "weights")
    follower.register(ids, "activations")
    with follower, follower.gradients_of(model):
        for _ in range(2):
            follower.enter("forward", "forward_end", "activations")
            loss = model(input_ids=ids, labels=ids, position_ids=ids[:1]).loss
            follower.enter("backward", "loss_backward", "activations")
            torch.autograd.backward(loss)
            del loss
            follower.enter("optimizer", "optimizer_step", "workspace")
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return follower


def told(events: list[Event] | None) -> list[tuple[str, int, str, str]]:
    return [(event.kind, event.bytes, event.category, event.phase) for event in events or []]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", CONFIGS)
def test_a_step_on_meta_tensors_is_the_step_on_the_cpu_byte_by_byte(
    family: str, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The only question about data: whether the positions tell of packed rows.
    monkeypatch.setattr("transformers.masking_utils.find_packed_sequence_indices", lambda position_ids: None)
    on_meta, on_cpu = (followed(CONFIGS[family], device, checkpointing) for device in ("meta", "cpu"))
    assert on_meta.peak == on_cpu.peak
    assert on_meta.peak_by_category == on_cpu.peak_by_category
    assert told(on_meta.events) == told(on_cpu.events)
