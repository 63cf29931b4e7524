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


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="swift-now-qlora"):
        recipe_named("nope")
