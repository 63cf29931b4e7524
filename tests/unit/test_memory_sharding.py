"""What DeepSpeed keeps on one GPU beside the model, counted by hand in its sources (stage_1_and_2.py, stage3.py)."""

from typing import Any

import pytest

from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEVICES
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.persistent import persistent_tensors
from tunescope.memory.sharding import Share, share
from tunescope.memory.stack import DEFAULT, STACKS
from tunescope.spec import JobSpec, parse_spec

MODEL = "Qwen/Qwen-1_8B"
BUCKET = 2 * DEFAULT.zero_bucket_elements


def full(strategy: str, gpus: int = 1, accumulation: int = 8, **sections: Any) -> JobSpec:
    return parse_spec(
        {
            "model": {"id": MODEL}, "adaptation": {"method": "full"}, "data": {"dataset": "d", "max_length": 512},
            "precision": {"quantization": "none", "master_weights": True},
            "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": accumulation},
            "parallelism": {"gpus": gpus, "strategy": strategy}, **sections,
        }
    )  # fmt: skip


def held(spec: JobSpec, stack: str = "current") -> Share:
    architecture, versions = catalogue(MODEL), STACKS[stack]
    return share(spec, architecture, persistent_tensors(spec, architecture, versions), versions)


def predicted(spec: JobSpec) -> Estimate:
    return estimate(spec, catalogue(MODEL), DEVICES["H200-141GB"])


@pytest.mark.parametrize("gpus", [1, 4])
def test_zero_2_steps_all_its_gradients_at_once_and_zero_3_a_sub_group(gpus: int) -> None:
    """Flattened in 16 bit, then cast to fp32; a sub-group is 1e9 numbers of a GPU's own."""
    parameters = catalogue(MODEL).parameter_count
    assert held(full("zero2", gpus)).step_temporary == pytest.approx(6 * parameters / gpus, rel=0.001)
    assert held(full("zero3", gpus)).step_temporary == pytest.approx(6 * min(1e9, parameters / gpus), rel=0.001)


def test_zero_2_sums_up_micro_batches_beside_the_new_gradients() -> None:
    parameters = catalogue(MODEL).parameter_count
    assert held(full("zero2", 2)).new_gradients == pytest.approx(2 * parameters / 2, rel=0.001)
    assert held(full("zero2", 2, accumulation=1)).new_gradients == 0
    assert held(full("zero1", 2)).new_gradients == 0, "ZeRO-1 adds to the parameters' own gradients"


def test_gradients_of_a_micro_batch_come_beside_the_sum_where_more_trains_than_a_bucket_takes() -> None:
    many, once = (predicted(full("zero2", accumulation=number)) for number in (8, 1))
    sizes = [{site.name: site.total_bytes for site in found.sites} for found in (many, once)]
    added = {name: sizes[0][name] - sizes[1][name] for name in ("layer_backward_first", "optimizer_step")}
    gradients = 2 * catalogue(MODEL).parameter_count
    assert added["layer_backward_first"] - added["optimizer_step"] > 0.9 * gradients


def test_a_single_process_gathers_no_weights_under_zero_3() -> None:
    alone, two = held(full("zero3")).communication, held(full("zero3", 2)).communication
    assert two - alone > 2 * min(1e9, catalogue(MODEL).parameter_count)
    assert alone < BUCKET + 400 * 1024**2


def test_qwens_recipe_leaves_zero_3s_buckets_to_transformers() -> None:
    """``auto``: the hidden size squared."""
    own, default = (held(full("zero3"), stack).communication for stack in ("qwen-2023", "current"))
    assert default - own == BUCKET - 2 * catalogue(MODEL).hidden ** 2


def test_a_longer_row_needs_no_less_under_zero_2() -> None:
    sizes = [
        predicted(full("zero2", data={"dataset": "d", "max_length": length})).total_bytes
        for length in (256, 512, 2048, 8192)
    ]
    assert sizes == sorted(sizes)
