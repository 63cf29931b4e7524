"""Specs stored by an older release: whatever today's rules say, they are read, and only running them again is refused."""

from typing import Any

import pytest

from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec
from tunescope.stored_spec import runnable_spec, stored_spec


def stored(**sections: dict[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = {"name": "old", "model": {"id": "Qwen/Qwen2.5-7B"}, "data": {"dataset": "d"}}
    return {**base, **sections}


def test_a_spec_of_today_is_read_as_it_is() -> None:
    values = stored(adaptation={"r": 16})
    assert stored_spec(values) == runnable_spec(values) == JobSpec.model_validate(values)


def test_fields_that_are_no_more_are_left_out_and_new_ones_have_their_defaults() -> None:
    spec = stored_spec(stored(batch={"per_device_train_batch_size": 3, "auto_find": True}, gone={"x": 1}))
    assert spec.batch.per_device_train_batch_size == 3 and spec.batch.gradient_accumulation_steps == 16
    assert spec == JobSpec.model_validate(stored(batch={"per_device_train_batch_size": 3}))


def test_what_one_field_no_longer_takes_becomes_the_nearest_or_the_default() -> None:
    spec = stored_spec(
        stored(
            adaptation={"r": 100_000}, data={"dataset": "d", "max_length": 4}, memory_savers={"attention": "xformers"}
        )
    )
    assert (spec.adaptation.r, spec.data.max_length, spec.memory_savers.attention) == (4096, 8, "sdpa")
    assert runnable_spec(spec.model_dump(mode="json")) == spec


def test_settings_that_do_not_go_together_any_more_stay_and_are_named_when_they_are_to_run_again() -> None:
    values = stored(parallelism={"gpus": 4, "strategy": "none", "offload": "all"}, adaptation={"method": "full"})
    spec = stored_spec(values)
    assert (spec.parallelism.gpus, spec.parallelism.strategy, spec.parallelism.offload) == (4, "none", "all")
    assert spec.adaptation.method == "full" and spec.precision.quantization == "nf4"
    with pytest.raises(InvalidInput) as refused:
        runnable_spec(values)
    assert "parallelism.strategy" in [error.loc for error in refused.value.errors]


@pytest.mark.parametrize(
    "values", [None, [], "x", {}, {"model": {"id": 5}}, {"model": {"id": "m"}, "data": {"dataset": ""}}]
)
def test_without_a_model_or_a_data_set_it_is_no_spec(values: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        stored_spec(values)
