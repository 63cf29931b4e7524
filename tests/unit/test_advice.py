"""Advice beyond bytes: what a GPU can do, and batches that stay exactly as large."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunescope.memory.advise import advise
from tunescope.memory.capability import lack_of
from tunescope.memory.catalogue import catalogue
from tunescope.memory.changes import changes_for
from tunescope.memory.devices import DEVICES, Device
from tunescope.memory.effective_batch import effective_batch
from tunescope.memory.estimate import estimate
from tunescope.spec import JobSpec, parse_spec, patched

MODEL = "Qwen/Qwen2.5-3B"


def spec_with(**sections: dict[str, object]) -> JobSpec:
    return parse_spec({"model": {"id": MODEL}, "data": {"dataset": "d", "max_length": 512}, **sections})


@pytest.mark.parametrize(
    ("precision", "attention", "cheapest", "lacking"),
    [
        ({"dtype": "bfloat16"}, "sdpa", "RTX3060-12GB", "bfloat16"),
        ({"dtype": "float16"}, "flash_attention_2", "RTX3060-12GB", "flash_attention_2"),
        ({"dtype": "float16"}, "sdpa", "T4-16GB", ""),
    ],
)
def test_the_cheapest_gpu_can_do_what_the_spec_asks_for(
    precision: dict[str, object], attention: str, cheapest: str, lacking: str
) -> None:
    spec = spec_with(precision=precision, memory_savers={"attention": attention})
    answer = advise(spec, catalogue(MODEL), DEVICES["H100-80GB"]).to_dict()
    assert answer["cheapest_gpu"] == cheapest
    assert [item["gpu"] for item in answer["passed_over"]] == (["T4-16GB"] if lacking else [])
    for item in answer["passed_over"]:
        assert lacking in item["because"] and "8.0" in item["because"] and "7.5" in item["because"]
    chinese = advise(spec, catalogue(MODEL), DEVICES["H100-80GB"], language="zh").to_dict()
    assert [item["because"] for item in chinese["passed_over"]] != [
        item["because"] for item in answer["passed_over"]
    ] or not lacking


@pytest.mark.parametrize(("strategy", "gpus", "offered"), [("fsdp", 4, True), ("fsdp", 1, False), ("ddp", 4, False)])
def test_accumulation_is_given_up_where_it_keeps_whole_gradients_on_every_gpu(
    strategy: str, gpus: int, offered: bool
) -> None:
    spec = spec_with(
        adaptation={"method": "full"},
        precision={"quantization": "none"},
        parallelism={"strategy": strategy, "gpus": gpus},
    )
    changes = {change.id: change.patch for change in changes_for(spec)}
    assert ("no-accumulation" in changes) is offered
    if offered:
        before, after = (
            estimate(it, catalogue(MODEL)).ledger["gradients"]
            for it in (spec, patched(spec, changes["no-accumulation"]))
        )
        assert before - after > 2 * catalogue(MODEL).parameter_count // 2


def test_an_estimate_for_a_gpu_that_cannot_run_it_says_so() -> None:
    spec = spec_with()
    assert any("cannot run" in note for note in estimate(spec, catalogue(MODEL), DEVICES["V100-32GB"]).assumptions)
    assert not any("cannot run" in note for note in estimate(spec, catalogue(MODEL), DEVICES["L4-24GB"]).assumptions)
    assert lack_of(spec, Device("unheard of", 10**10)) is None


@given(st.integers(1, 48), st.integers(1, 48), st.sampled_from([1, 3, 8]))
def test_a_smaller_batch_keeps_the_effective_batch_exactly(batch: int, steps: int, gpus: int) -> None:
    spec = spec_with(
        batch={"per_device_train_batch_size": batch, "gradient_accumulation_steps": steps},
        parallelism={"gpus": gpus, "strategy": "none" if gpus == 1 else "ddp"},
    )
    changes = [change for change in changes_for(spec) if change.id == "smaller-batch"]
    assert len(changes) == (batch > 1)
    for change in changes:
        after = patched(spec, change.patch)
        assert effective_batch(after) == effective_batch(spec) == batch * steps * gpus
        assert after.batch.per_device_train_batch_size <= batch // 2
        assert f"{batch * steps * gpus:,}" in change.price[0] and f"{batch * steps * gpus:,}" in change.price[1]
