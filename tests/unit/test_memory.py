"""The VRAM model: exact sums, sane directions, published runs, and explanations that add up."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.estimate import estimate
from tunescope.memory.explain import Subject, explain
from tunescope.memory.ledger import CATEGORIES
from tunescope.problems import InvalidInput
from tunescope.recipes import load_recipes
from tunescope.spec import SECTIONS, JobSpec, parse_spec

MODEL = "Qwen/Qwen2.5-7B"

specs = st.builds(
    lambda method, quantization, r, batch, length, checkpointing, optimizer, attention: parse_spec(
        {
            "model": {"id": MODEL, "source": "catalogue"},
            "adaptation": {"method": method, "r": r},
            "precision": {"quantization": "none" if method == "full" else quantization},
            "batch": {"per_device_train_batch_size": batch},
            "data": {"dataset": "d", "max_length": length},
            "memory_savers": {"gradient_checkpointing": checkpointing, "attention": attention},
            "optimizer": {"name": optimizer},
        }
    ),
    method=st.sampled_from(["lora", "full"]),
    quantization=st.sampled_from(["none", "nf4", "fp4", "int8"]),
    r=st.sampled_from([1, 8, 64]),
    batch=st.integers(1, 8),
    length=st.sampled_from([128, 1024, 4096]),
    checkpointing=st.booleans(),
    optimizer=st.sampled_from(
        ["adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd"]
    ),
    attention=st.sampled_from(["sdpa", "eager", "flash_attention_2"]),
)


ROOMY = Device("a card with room for anything", 1 << 50)


def total(spec: JobSpec, device: Device = DEFAULT_DEVICE) -> int:
    return int(estimate(spec, catalogue(MODEL), device).to_dict()["total_bytes"])


def changed(spec: JobSpec, section: str, **fields: object) -> JobSpec:
    return spec.model_copy(update={section: getattr(spec, section).model_copy(update=fields)})


@settings(max_examples=60, deadline=None)
@given(specs)
def test_categories_sum_exactly_and_none_is_negative(spec: JobSpec) -> None:
    answer = estimate(spec, catalogue(MODEL), DEFAULT_DEVICE).to_dict()
    assert list(answer["ledger"]) == list(CATEGORIES)
    assert sum(answer["ledger"].values()) == answer["total_bytes"]
    assert min(answer["ledger"].values()) >= 0


@settings(max_examples=40, deadline=None)
@given(specs)
def test_more_tokens_never_need_less(spec: JobSpec) -> None:
    """In full training that holds of the tensors; in which cached blocks gradients and states settle is luck."""
    longer = changed(spec, "data", max_length=spec.data.max_length * 2)
    less, more = (estimate(each, catalogue(MODEL), DEFAULT_DEVICE) for each in (spec, longer))
    assert more.allocated_bytes >= less.allocated_bytes
    if spec.adaptation.method == "full":
        return
    assert more.total_bytes >= less.total_bytes
    assert total(longer, ROOMY) >= total(spec, ROOMY)
    assert less.fits or not more.fits


@settings(max_examples=25, deadline=None)
@given(specs, specs)
def test_an_explanation_sums_exactly_and_turns_round(a: JobSpec, b: JobSpec) -> None:
    first, second = (Subject(spec.name, spec, catalogue(MODEL)) for spec in (a, b))
    forth, back = explain(first, second).to_dict(), explain(second, first).to_dict()
    assert sum(part["bytes"] for part in forth["sections"]) == forth["b"]["total_bytes"] - forth["a"]["total_bytes"]
    assert {part["section"] for part in forth["sections"]} >= set(SECTIONS)
    there = {part["section"]: part["bytes"] for part in forth["sections"]}
    again = {part["section"]: -part["bytes"] for part in back["sections"]}
    assert all(abs(there[name] - again[name]) <= 1 for name in there), "which side is A must not matter"
    assert all(part["because"] for part in forth["sections"])


@pytest.mark.parametrize("name", sorted(load_recipes()))
def test_every_recipe_has_a_source_and_an_estimate(name: str) -> None:
    recipe = load_recipes()[name]
    assert recipe.source and recipe.date
    found = estimate(recipe.spec, catalogue(recipe.spec.model.id), DEFAULT_DEVICE, stack=recipe.stack)
    assert found.total_bytes > 0


def test_an_unknown_model_is_said_to_be_unknown() -> None:
    with pytest.raises(InvalidInput, match="no model"):
        catalogue("nobody/nothing")


def test_an_estimate_takes_under_five_milliseconds() -> None:
    spec = parse_spec({"model": {"id": MODEL}, "data": {"dataset": "d"}})
    total(spec)
    began = time.process_time()
    for length in range(100, 200):
        total(changed(spec, "data", max_length=length))
    assert (time.process_time() - began) / 100 < 0.005 * 4, (
        "four times the promise, so that a busy machine does not fail it"
    )


def test_explaining_takes_a_moment() -> None:
    """Beside the 128 estimates that it is made of, the attribution is little: a slow or busy machine changes neither's share."""
    a = parse_spec({"model": {"id": MODEL}, "data": {"dataset": "d"}})
    b = changed(changed(changed(a, "adaptation", r=16), "data", max_length=4096), "optimizer", name="adamw_8bit")
    b = changed(changed(b, "batch", per_device_train_batch_size=2), "memory_savers", gradient_checkpointing=False)
    b = changed(changed(b, "precision", quantization="none"), "parallelism", gpus=2, strategy="zero2")
    one, two = (Subject(spec.name, spec, catalogue(MODEL)) for spec in (a, b))
    explain(one, two)
    began = time.process_time()
    explain(one, two)
    explained = time.process_time()
    for _ in range(64):
        total(a)
        total(b)
    assert explained - began < 3 * (time.process_time() - explained)
