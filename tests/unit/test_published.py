"""Published measurements are read as they were printed, and name the recipes they were made with."""

from tunescope.recipes import load_recipes
from tunescope.recipes.published import load_published


def test_figures_name_their_source_and_a_recipe_that_exists() -> None:
    rows = load_published()
    assert {row.recipe for row in rows} - {None} <= load_recipes().keys()
    assert all(row.source and row.bytes > 0 and row.tokens > 0 for row in rows)


def test_swift_needs_less_at_512_tokens_and_more_from_2048_up() -> None:
    rows = load_published()
    official = {row.tokens: row for row in rows if row.recipe == "qwen-official-lora"}
    swift = {row.tokens: row for row in rows if row.recipe == "swift-2024-lora"}
    assert official[512].printed == "20.4 GB" and swift[512].printed == "18.01 GiB"
    assert swift[512].bytes < official[512].bytes
    assert all(swift[tokens].bytes > official[tokens].bytes for tokens in (2048, 4096, 8192))


def test_a_sum_over_several_gpus_is_shared() -> None:
    full = next(row for row in load_published() if row.recipe == "qwen-official-full")
    assert full.gpus == 2 and full.bytes_per_gpu * 2 == full.bytes
