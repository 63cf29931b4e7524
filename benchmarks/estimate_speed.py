"""How fast estimates are: `python -m benchmarks.estimate_speed`. Processor time, one core; prints a table and a ratio to the promise."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import cycle, islice, product

from tunescope.memory.advise import advise
from tunescope.memory.architecture import Architecture
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.estimate import estimate
from tunescope.memory.explain import Subject, explain
from tunescope.recipes import load_recipes, recipe_named
from tunescope.spec import JobSpec, parse_spec

SWEEP = 10_000
LENGTHS = (512, 1024, 2048, 3000, 4096, 8192)
FIRSTS = 25


def milliseconds(function: Callable[[], object], times: int) -> float:
    function()
    began = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - began) * 1000 / times


def first(spec: JobSpec, model: Architecture, device: Device = DEFAULT_DEVICE) -> float:
    """Milliseconds for an estimate that shares nothing with earlier ones: each time of a model with another vocabulary.

    The best of several, since memory that others use slows a single one down.
    """
    return min(_first(spec, replace(model, vocab=model.vocab - 64 * number), device) for number in range(1, FIRSTS + 1))


def _first(spec: JobSpec, model: Architecture, device: Device) -> float:
    began = time.process_time()
    estimate(spec, model, device)
    return (time.process_time() - began) * 1000


def first_on_a_full_card(spec: JobSpec, model: Architecture) -> float:
    """The same on a card with about half of the room that the cache would take: steps are replayed a second time, within it."""
    # The least of the vocabularies, so that the card is full with each of them.
    found = estimate(spec, replace(model, vocab=model.vocab - 64 * (FIRSTS + 1)))
    needed = found.total_bytes - found.ledger["fragmentation"] // 2
    return first(spec, model, Device("a card", needed, context_bytes=found.ledger["runtime_context"]))


def full(model: str, **sections: object) -> tuple[JobSpec, Architecture]:
    """Full training in bfloat16 on rows of no round length."""
    values = {
        "model": {"id": model}, "adaptation": {"method": "full"}, "precision": {"quantization": "none"},
        "data": {"dataset": "d", "max_length": 1500}, **sections,
    }  # fmt: skip
    return parse_spec(values), catalogue(model)


def sweep() -> float:
    """Seconds for as many estimates as a sweep has: every recipe at some lengths, micro batches and ranks."""
    settings = islice(product(LENGTHS, range(1, 9), range(8, 129, 8)), -(-SWEEP // len(load_recipes())))
    return seconds_for((length, batch, rank) for length, batch, rank in settings for _ in load_recipes())


def lengths() -> float:
    """Seconds for as many, each of another length: a replay of its own for most."""
    return seconds_for((128 + number, 1 + number % 7, 8) for number in range(SWEEP))


def seconds_for(settings: Iterable[tuple[int, int, int]]) -> float:
    """Estimates of the recipes in turn, with (max_length, micro batch, rank)."""
    began = time.process_time()
    for recipe, (length, batch, rank) in zip(cycle(load_recipes().values()), settings, strict=False):
        spec = recipe.spec.model_copy(
            update={
                "data": recipe.spec.data.model_copy(update={"max_length": length}),
                "batch": recipe.spec.batch.model_copy(update={"per_device_train_batch_size": batch}),
                "adaptation": recipe.spec.adaptation.model_copy(update={"r": rank}),
            }
        )
        estimate(spec, catalogue(spec.model.id), stack=recipe.stack)
    return time.process_time() - began


def additions() -> float:
    """Milliseconds for a million additions, to tell one machine's figures from another's."""
    began, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return (time.process_time() - began) * 1000


def main() -> int:
    recipe, other = recipe_named("swift-now-qlora"), recipe_named("qwen-official-lora-base")
    model = catalogue(recipe.spec.model.id)
    sides = [Subject(item.name, item.spec, catalogue(item.spec.model.id), stack=item.stack) for item in (recipe, other)]
    rows = [
        ("one estimate (QLoRA, 7B)", milliseconds(lambda: estimate(recipe.spec, model), 200), 5.0, "ms"),
        ("the first of a model (QLoRA, 7B)", first(recipe.spec, model), 5.0, "ms"),
        ("the same in full, AdamW (Qwen-7B)", first(*full("Qwen/Qwen-7B")), 5.0, "ms"),
        (
            "the same in full, 8-bit Adam (Mistral-7B)",
            first(*full("mistralai/Mistral-7B-v0.1", optimizer={"name": "adamw_8bit"})),
            5.0,
            "ms",
        ),
        (
            "the same in full, fp32 masters (Llama-8B)",
            first(*full("meta-llama/Llama-3.1-8B", precision={"quantization": "none", "master_weights": True})),
            5.0,
            "ms",
        ),
        (
            "the same in full on a card that it fills (Mistral-7B)",
            first_on_a_full_card(*full("mistralai/Mistral-7B-v0.1")),
            5.0,
            "ms",
        ),
        (f"{SWEEP:,} estimates: recipes, lengths, batches, ranks", sweep(), 30.0, "s"),
        (f"{SWEEP:,} estimates, each of another length", lengths(), 30.0, "s"),
        ("explanation of two recipes of different models", milliseconds(lambda: explain(*sides), 5), 500.0, "ms"),
        ("advice", milliseconds(lambda: advise(recipe.spec, model, DEFAULT_DEVICE), 5), 500.0, "ms"),
    ]
    print(f"{'':54}{'took':>12}{'promise':>12}{'ratio':>8}")
    for name, took, promise, unit in rows:
        print(f"{name:54}{took:9.2f} {unit:2}{promise:9.0f} {unit:2}{took / promise:8.2f}")
    print(f"{'a million additions on this machine':54}{min(additions() for _ in range(5)):9.2f} ms")
    return 0 if all(took <= promise for _, took, promise, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
