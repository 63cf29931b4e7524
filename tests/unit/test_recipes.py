"""Every recipe loads, names its source and date, and is estimated."""

import pytest

from tunescope.memory.catalogue import catalogue
from tunescope.memory.estimate import estimate
from tunescope.problems import InvalidInput
from tunescope.recipes import load_recipes, recipe_named
from tunescope.spec import parse_spec

EXPECTED = {
    "qwen-official-full", "qwen-official-lora", "qwen-official-lora-base", "qwen-official-qlora",
    "swift-2024-lora", "swift-2024-qlora", "swift-2024-full", "swift-now-lora", "swift-now-qlora", "swift-now-full",
    "llamafactory-lora", "llamafactory-qlora", "unsloth-qlora", "torchtune-qlora", "axolotl-qlora",
}  # fmt: skip


def test_the_recipes_promised_are_there() -> None:
    assert set(load_recipes()) == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_recipe_is_complete_and_can_be_estimated(name: str) -> None:
    recipe = recipe_named(name)
    shown = recipe.to_dict()
    assert shown["title"] and shown["source"] and shown["date"]
    assert parse_spec(shown["spec"]) == recipe.spec
    found = estimate(recipe.spec, catalogue(recipe.spec.model.id), stack=recipe.stack)
    assert found.total_bytes > 0


def test_what_a_spec_cannot_say_of_a_program_is_told_for_people_and_programs() -> None:
    shown = recipe_named("unsloth-qlora").to_dict()
    assert "its figure will be lower" in shown["notes"][0]
    assert [note["text"] for note in shown["note_sentences"]] == shown["notes"]
    rounding = shown["note_sentences"][1]
    assert rounding["kind"] == "rounds_blocks" and "roundup_power2_divisions" in rounding["values"]["settings"]
    assert shown["spec"]["memory_savers"]["expandable_segments"] is True


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="swift-now-qlora"):
        recipe_named("nope")


def test_official_scripts_are_as_shipped() -> None:
    """finetune/*.sh at 2df8e8ac: batch 2 with accumulation 8 for LoRA and Q-LoRA, 512 tokens, rank 64 on four module kinds."""
    for name in ("qwen-official-lora", "qwen-official-lora-base", "qwen-official-qlora"):
        spec = recipe_named(name).spec
        assert (spec.batch.per_device_train_batch_size, spec.batch.gradient_accumulation_steps) == (2, 8)
        assert (spec.adaptation.r, spec.data.max_length) == (64, 512)
        assert spec.adaptation.target_modules == ["c_attn", "c_proj", "w1", "w2"]
    assert recipe_named("qwen-official-lora-base").spec.adaptation.modules_to_save == ["wte", "lm_head"]
    full = recipe_named("qwen-official-full").spec
    assert (full.parallelism.strategy, full.batch.gradient_accumulation_steps) == ("zero3", 16)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_published_figures_of_a_recipe_are_near_its_estimate(name: str) -> None:
    """At the length and batch of each figure, within 20 % (row lengths of ms-swift's benchmark are one random order)."""
    recipe = recipe_named(name)
    for figure in recipe.measured:
        values = recipe.spec.model_dump(mode="json")
        values["data"]["max_length"] = figure.tokens
        values["batch"]["per_device_train_batch_size"] = figure.batch
        found = estimate(parse_spec(values), catalogue(recipe.spec.model.id), stack=recipe.stack).total_bytes
        assert found == pytest.approx(figure.bytes, rel=0.2)
