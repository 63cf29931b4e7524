"""How fast estimates are: `python -m benchmarks.estimate_speed`. Processor time, one core; prints a table and a ratio to the promise."""

import sys
import time
from collections.abc import Callable

from tunescope.memory.advise import advise
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEFAULT_DEVICE
from tunescope.memory.estimate import estimate
from tunescope.memory.explain import Subject, explain
from tunescope.recipes import load_recipes, recipe_named

SWEEP = 10_000


def milliseconds(function: Callable[[], object], times: int) -> float:
    function()
    began = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - began) * 1000 / times


def sweep() -> float:
    """Seconds for many different estimates: every recipe at many lengths and batches."""
    recipes = list(load_recipes().values())
    began = time.process_time()
    for number in range(SWEEP):
        recipe = recipes[number % len(recipes)]
        spec = recipe.spec.model_copy(
            update={
                "data": recipe.spec.data.model_copy(update={"max_length": 128 + number}),
                "batch": recipe.spec.batch.model_copy(update={"per_device_train_batch_size": 1 + number % 7}),
            }
        )
        estimate(spec, catalogue(spec.model.id), stack=recipe.stack)
    return time.process_time() - began


def main() -> int:
    recipe, other = recipe_named("swift-now-qlora"), recipe_named("qwen-official-lora-base")
    model = catalogue(recipe.spec.model.id)
    sides = [Subject(item.name, item.spec, catalogue(item.spec.model.id), stack=item.stack) for item in (recipe, other)]
    rows = [
        ("one estimate (QLoRA, 7B)", milliseconds(lambda: estimate(recipe.spec, model), 200), 5.0, "ms"),
        (f"{SWEEP:,} estimates", sweep(), 30.0, "s"),
        ("explanation of two recipes of different models", milliseconds(lambda: explain(*sides), 5), 500.0, "ms"),
        ("advice", milliseconds(lambda: advise(recipe.spec, model, DEFAULT_DEVICE), 5), 500.0, "ms"),
    ]
    print(f"{'':50}{'took':>12}{'promise':>12}{'ratio':>8}")
    for name, took, promise, unit in rows:
        print(f"{name:50}{took:9.2f} {unit:2}{promise:9.0f} {unit:2}{took / promise:8.2f}")
    return 0 if all(took <= promise for _, took, promise, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
