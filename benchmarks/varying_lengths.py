"""How much a caching allocator keeps when lengths vary: `python -m benchmarks.varying_lengths [ORDERS]`.

Replays training steps of random lengths (rows as documents: log-normal, cut off at the longest) through the model of
CUDA's caching allocator and prints, by the spread of the micro batches' lengths, what stays reserved for activations over
what steps of the longest length alone reserve: 10th, 50th and 90th percentile of ORDERS random orders after 48 passes. The
tables in ``tunescope/memory/fragmentation.py`` are this output: the mean of each group's models. About three minutes.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from statistics import NormalDist, quantiles

from tunescope.memory.allocator import Change
from tunescope.memory.catalogue import catalogue
from tunescope.memory.head_step import loss_path_of
from tunescope.memory.persistent import persistent_tensors
from tunescope.memory.requests import Recorded
from tunescope.memory.stack import stack_named
from tunescope.memory.step_sequence import Head, StepSequence, Update
from tunescope.memory.step_settings import layer_settings
from tunescope.memory.workload import Workload
from tunescope.spec import parse_spec
from worker.tracer.replay import allocator

PASSES = 48
"""In this model the cache goes on growing, to about 1.3 times as much after 128 micro batches, and settles there; ms-swift's published
runs show what is reached after some 50. Of all that is estimated, only this and the CUDA context may be set by measurements."""
GRAIN = 16
"""Lengths are multiples of it, so that their steps are made once."""
SPREADS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
SIGMA = 0.7
"""Of the logarithm of document lengths: the mean 3234 and deviation 2547 of ms-swift's benchmark data give 0.69."""
LONGEST = 2048


@dataclass(frozen=True)
class Run:
    """One LoRA on every linear layer; ``group`` names the table that it is for."""

    group: str
    model: str
    stack: str
    batch: int = 1
    checkpointing: bool = True

    def steps(self) -> Callable[[int], list[Change]]:
        """What a step asks the allocator for, by the length of its rows."""
        spec = parse_spec(
            {
                "model": {"id": self.model}, "data": {"dataset": "d", "max_length": LONGEST},
                "precision": {"quantization": "none"}, "batch": {"per_device_train_batch_size": self.batch},
                "memory_savers": {"gradient_checkpointing": self.checkpointing},
            }
        )  # fmt: skip
        architecture, stack = catalogue(self.model), stack_named(self.stack)
        settings = layer_settings(
            spec, architecture, Workload(self.batch, LONGEST), stack, persistent_tensors(spec, architecture, stack)
        )
        head = Head(loss_path_of(spec, architecture, stack), architecture.vocab, self.batch)

        @cache
        def step(length: int) -> list[Change]:
            shorter = replace(settings, sequence=length, tokens=length * self.batch)
            stream = Recorded()
            StepSequence(architecture, shorter, head, Update(keeps_gradients=False)).micro_batch(
                stream, adds=True, settling=True
            )
            return stream.changes

        return step


RUNS = (
    Run("logits decide", "Qwen/Qwen-7B", "qwen-2023"),
    Run("logits decide", "Qwen/Qwen2.5-7B", "current"),
    Run("layers decide", "mistralai/Mistral-7B-v0.1", "current"),
    Run("layers decide", "mistralai/Mistral-7B-v0.1", "transformers-4.48", 4),
    Run("all is kept", "Qwen/Qwen-7B", "current", checkpointing=False),
    Run("all is kept", "mistralai/Mistral-7B-v0.1", "current", checkpointing=False),
)


def lengths(random: Random, longest: int, spread: float) -> Callable[[], int]:
    """Micro batch lengths: log-normal with median ``longest / spread``, those above ``longest`` left out."""
    normal = NormalDist()
    # The median of what is left after cutting is longest / spread: find the location by bisection.
    low, high = -6.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        share = normal.cdf(-middle / SIGMA)
        found = 2.718281828459045 ** (middle + SIGMA * normal.inv_cdf(max(1e-12, share / 2)))
        low, high = (middle, high) if found < 1 / spread else (low, middle)
    share = normal.cdf(-low / SIGMA)

    def draw() -> int:
        part = max(1e-12, random.random() * share)
        length = int(longest * 2.718281828459045 ** (low + SIGMA * normal.inv_cdf(part)))
        return max(GRAIN, length // GRAIN * GRAIN)

    return draw


def reserved(step: Callable[[int], list[Change]], draws: list[int], expandable: bool) -> int:
    card = allocator(expandable)
    for length in draws:
        card.run(step(length))
    return card.reserved_peak


def main(arguments: list[str]) -> int:
    orders = int(arguments[0]) if arguments else 24
    print("with expandable segments: of two orders")
    print(f"reserved after {PASSES} passes / reserved by the longest alone: 10 %, 50 %, 90 % of {orders} orders")
    for expandable in (False, True):
        for run in RUNS:
            step = run.steps()
            alone = reserved(step, [LONGEST], expandable)
            cells: list[str] = []
            for spread in SPREADS:
                found: list[float] = []
                for seed in range(orders if not expandable else 2):
                    draw = lengths(Random(seed), LONGEST, spread)
                    found.append(reserved(step, [draw() for _ in range(PASSES)], expandable) / alone)
                tenths = quantiles(found, n=10)
                cells.append(f"{spread}: {tenths[0]:.2f} {tenths[4]:.2f} {tenths[8]:.2f}")
            name = f"{run.group}, {run.model}, {run.stack}"
            print(f"{'expandable' if expandable else 'native':11}{name:60}" + "  ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
