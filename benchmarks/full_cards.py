"""What full training comes to on cards that its cache fills, by formula and by whole traces: ``python -m benchmarks.full_cards``.

Each recipe is traced in full, and five of its steps are replayed through CUDA's caching allocator on cards with a part of the
room that the cache would take. Prints what the estimate says beside it, and the same of segments that can expand. About five
minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks.replayed_fragmentation import MODELS, ROOMY
from tunescope.memory.allocator import CachingAllocator, Change, OutOfMemory
from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.devices import Device
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.spec import JobSpec, parse_spec, patched
from tunescope.units import GIB
from worker.tracer.replay import runs_within
from worker.tracer.step import as_on_cuda
from worker.tracer.stream import changes
from worker.tracer.trace import record, workload

SIZES = ("Qwen2.5-0.5B", "Llama-3.2-1B", "Mistral-7B")
RECIPES: dict[str, dict[str, Any]] = {
    "2048 tokens": {},
    "512 tokens": {"length": 512},
    "4 rows of 1024": {"rows": 4, "length": 1024},
    "accumulation": {"steps": 4},
    "8-bit Adam": {"optimizer": "adamw_8bit"},
    "keeping all": {"checkpointing": False, "length": 1024},
}
PARTS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the room that the cache would take, what a card has."""
CONTEXT = ROOMY.context_band(DEFAULT.context_bytes)[1]
STEPS = 5


@dataclass(frozen=True)
class Outcome:
    """One recipe on one card. Bytes that stay reserved without the context; None: a step runs out of memory."""

    name: str
    limit: int
    traced: int | None
    told: int | None
    expandable_runs: bool
    """With segments that can expand, by the whole trace."""
    expandable_told: bool
    """By the estimate, be it tightly."""

    @property
    def agree(self) -> bool:
        return (self.traced is None) == (self.told is None)

    def line(self) -> str:
        cells = (
            f"{size / GIB:.2f}" if size is not None else "runs out" for size in (self.limit, self.traced, self.told)
        )
        expandable = ("yes" if runs else "no" for runs in (self.expandable_runs, self.expandable_told))
        return f"| {self.name} | " + " | ".join((*cells, *expandable)) + " |"


def spec_of(
    rows: int = 1, length: int = 2048, steps: int = 1, optimizer: str = "adamw_torch", checkpointing: bool = True
) -> JobSpec:
    return parse_spec(
        {
            "model": {"id": "m"}, "data": {"dataset": "d", "max_length": length},
            "adaptation": {"method": "full"}, "precision": {"quantization": "none"}, "optimizer": {"name": optimizer},
            "batch": {"per_device_train_batch_size": rows, "gradient_accumulation_steps": steps},
            "memory_savers": {"gradient_checkpointing": checkpointing, "attention": "flash_attention_2"},
        }
    )  # fmt: skip


def steps_of(spec: JobSpec, config: dict[str, Any], stack: Stack = DEFAULT) -> list[Change]:
    """All that the model's load and its steps ask of the allocator."""
    work = workload(spec)
    with as_on_cuda(work):
        recording = record(spec, config, stack, work, ROOMY.cublas_workspace_bytes)
    later = [event for number in range(1, STEPS) for event in recording.steady_step(number)]
    return changes([*recording.load, *recording.first_step(), *later])


def outcomes(name: str, spec: JobSpec, config: dict[str, Any]) -> Iterator[Outcome]:
    stream = steps_of(spec, config)
    roomy = CachingAllocator().run(stream)
    expandable = patched(spec, {"memory_savers.expandable_segments": True})
    for part in PARTS:
        limit = int(roomy.active_peak + part * (roomy.reserved_peak - roomy.active_peak))
        card, architecture = Device("a card", limit + CONTEXT, context_bytes=CONTEXT), architecture_from_config(config)
        found, expanding = (estimate(item, architecture, card) for item in (spec, expandable))
        runs = runs_within(stream, limit, expandable=True)
        yield Outcome(name, limit, stays(stream, limit), told(found), runs, expanding.fit != "no")


def stays(stream: Sequence[Change], limit: int) -> int | None:
    try:
        return CachingAllocator(limit).run(stream).reserved
    except OutOfMemory:
        return None


def told(found: Estimate) -> int | None:
    if not found.fits:
        return None
    return (found.settled_bytes or found.total_bytes) - CONTEXT


def main() -> None:
    print("| run | the card | stays, whole trace | stays, estimate | runs with expandable segments | told so |")
    print("|---|---|---|---|---|---|")
    found: list[Outcome] = []
    for model, (recipe, settings) in product(SIZES, RECIPES.items()):
        for outcome in outcomes(f"{model} {recipe}", spec_of(**settings), MODELS[model]):
            found.append(outcome)
            print(outcome.line(), flush=True)
    dying = [item for item in found if item.traced is None]
    misses = sorted(abs(item.told / item.traced - 1) for item in found if item.told and item.traced)
    print(
        f"alike: {sum(item.agree for item in found)} of {len(found)}; run out: {len(dying)}, of which the estimate tells"
    )
    print(
        f"{sum(item.told is None for item in dying)} and {sum(item.expandable_runs for item in dying)} run with expandable segments"
    )
    false = [sum(item.expandable_told is told is not item.expandable_runs for item in found) for told in (True, False)]
    print(
        f"with them {sum(item.expandable_runs for item in found)} run; {false[0]} are falsely told to, {false[1]} not to"
    )
    if misses:
        print(f"error of what stays: median {100 * misses[len(misses) // 2]:.1f} %, worst {100 * misses[-1]:.1f} %")


if __name__ == "__main__":
    main()
