"""How close estimates come to PEFT's own benchmark: ``python -m benchmarks.peft_accuracy``.

published/peft_metamathqa.csv: runs of huggingface/peft (Apache-2.0), method_comparison/MetaMathQA/results, each with its commit and the
library versions it names; one L40S, Llama 3.2 3B in bf16, batches of 4 rows, adapters in fp32, no autocast, no checkpointing, SDPA,
foreach AdamW. ``run.py`` trains in a loop of its own, which differs from Trainer's:

- what the model returned stays until the next forward has returned: its 16-bit logits, and the cache's keys and values;
- after each step it notes torch's allocated and reserved bytes less those at the start (2 MiB), then empties the allocator's cache (every
  tenth step since November 2025, huggingface/peft#2894: those rows tell only what is allocated).

Row lengths are not published. Bytes grow with a batch's padded tokens, so a mean over steps is that of the mean batch. Two numbers
are therefore taken from the first row and held against all others: the mean batch's tokens, from what is allocated after a step, and
those of the longest hundredth, from the 99th percentile.
"""

import csv
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from statistics import mean

from tunescope.memory.cached_blocks import cached_blocks
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEVICES
from tunescope.memory.estimate import estimate, workload
from tunescope.memory.fragmentation import unfollowed
from tunescope.memory.loss_path import LossPath
from tunescope.memory.native_allocator import UNIT, NativeAllocator
from tunescope.memory.persistent import persistent_tensors
from tunescope.memory.requests import drop_all
from tunescope.memory.sharding import share
from tunescope.memory.stack import STACKS
from tunescope.memory.step_sequence import StepSequence
from tunescope.spec import JobSpec, parse_spec
from tunescope.units import MIB

MODEL = "meta-llama/Llama-3.2-3B"
ARCHITECTURE = catalogue(MODEL)
DEVICE = DEVICES["L40S-48GB"]
BATCH = 4
NEAR = 24
"""Tokens of a row by which lengths that are taken together differ at most."""
CAP = 768
"""Tokens that ``run.py`` cuts rows to."""
UNPADDED_TOKENS = 4_198_051 / 5000 - BATCH
"""Of a mean batch: "train total tokens" counts one more for each row."""
AT_START = 2 * MIB
STACK = replace(
    STACKS["current"],
    name="peft-loop",
    loss=LossPath("logits+2 float+4 logprob+4 -float | nll+4 dfloat+4 -nll -logprob half+2 -dfloat -half -logits"),
    autocast_adapters=False,
    transformers=4,
)
"""transformers 4.52 ``loss/loss_utils.py``, without accelerate's fp32 output; the logits stay."""
LOGITS = 2 * ARCHITECTURE.vocab
CACHE = 2 * 2 * ARCHITECTURE.kv_width * ARCHITECTURE.layer_count
"""Bytes a token. With a mask SDPA is given repeated copies, so the cache's keys and values are tensors of their own."""


@dataclass(frozen=True, eq=False)
class Run:
    """One published run; figures are bytes as ``run.py`` tells them."""

    name: str
    date: str
    adaptation: dict[str, object]
    emptied_every: int
    after_step: int
    reserved_mean: int
    reserved_99th: int

    @cached_property
    def states(self) -> int:
        """Bytes that stay from step to step: weights, adapters, gradients, Adam's states, cuBLAS workspaces."""
        spec = self.spec(CAP)
        ledger = estimate(spec, ARCHITECTURE, DEVICE, stack=STACK).ledger
        kept = ledger["weights"] + ledger["adapters"] + ledger["optimizer_states"] + 2 * DEVICE.cublas_workspace_bytes
        return kept + persistent_tensors(spec, ARCHITECTURE, STACK).gradients

    def spec(self, length: int) -> JobSpec:
        return parse_spec(
            {
                "model": {"id": MODEL},
                "adaptation": self.adaptation,
                "precision": {"quantization": "none", "adapter_dtype": "float32"},
                "batch": {"per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1},
                "data": {"dataset": "meta-math/MetaMathQA", "max_length": length},
                "memory_savers": {"gradient_checkpointing": False, "attention": "sdpa"},
            }
        )

    def after(self, tokens: float) -> float:
        """Allocated after a step on a batch of so many padded tokens."""
        return self.states + tokens * (LOGITS + CACHE) - AT_START

    def reserved(self, length: int) -> int:
        """After a step on rows of about so many tokens: what is cached jumps from one length to the next."""
        return round(mean(self._reserved(near) for near in range(length - NEAR, length + NEAR + 1, 4)))

    @cache  # noqa: B019  a run lives as long as the program
    def _reserved(self, length: int) -> int:
        """After a step on rows of so many tokens that began without cached blocks.

        The last step's outputs go when forward returns, and their blocks are too small for what backward asks for until its peak.
        """
        spec = self.spec(length)
        found = estimate(spec, ARCHITECTURE, DEVICE, stack=STACK)
        overhead = found.ledger["fragmentation"] + found.ledger["runtime_context"]
        outputs = {
            "load": 0,
            "forward_end": LOGITS + 2 * CACHE,
            "loss_backward": LOGITS + 2 * CACHE,
        }
        peaks = [
            site.total_bytes - overhead + BATCH * length * outputs.get(site.name, LOGITS + CACHE)
            for site in found.sites
        ]
        persistent = persistent_tensors(spec, ARCHITECTURE, STACK)
        held = share(spec, ARCHITECTURE, persistent, STACK)
        work = workload(spec, ARCHITECTURE, None)
        blocks = cached_blocks(spec, ARCHITECTURE, work, STACK, persistent, held)
        emptied = int(unfollowed(blocks)[1] * less_after_emptying(blocks.steps()))
        return max(peaks) + found.ledger["fragmentation"] - emptied - AT_START


def less_after_emptying(steps: StepSequence) -> int:
    """Bytes that are not reserved if the cache is emptied before a step."""
    allocator = NativeAllocator()
    left = steps.run(allocator)
    kept = allocator.reserved
    drop_all(allocator, left)
    allocator.release_cached()
    steps.optimize(allocator, steps.first_micro_batch(allocator))
    return (kept - allocator.reserved) * UNIT


def published_runs() -> list[Run]:
    """The rows of the table."""
    with (Path(__file__).parent / "published" / "peft_metamathqa.csv").open(encoding="utf-8") as file:
        return [_run(line) for line in csv.DictReader(file)]


def _run(line: dict[str, str]) -> Run:
    adaptation: dict[str, object] = {"method": line["method"]}
    if line["method"] == "lora":
        adaptation |= {
            "r": int(line["r"]),
            "lora_dropout": 0.0,
            "target_modules": line["target_modules"].split(),
            "use_dora": line["use_dora"] == "True",
        }
    return Run(
        line["run"], line["date"], adaptation, int(line["cache_emptied_every"]), int(line["allocated_after_step"]),
        int(line["reserved_mean"]), int(line["reserved_99th"]),
    )  # fmt: skip


@dataclass(frozen=True)
class Lengths:
    """Of padded batches, from one run: ``tokens`` in the mean one, and tokens of a row in the longest hundredth."""

    tokens: float
    longest: int

    @classmethod
    def of(cls, run: Run) -> "Lengths":
        tokens = (run.after_step + AT_START - run.states) / (LOGITS + CACHE)
        longest = bisect_left(range(CAP), run.reserved_99th, lo=round(tokens / BATCH), key=run.reserved)
        return cls(tokens, longest)


@dataclass(frozen=True)
class Errors:
    """Estimate over measured in percent; None where the cache was kept for several steps."""

    after_step: float
    reserved_mean: float | None
    reserved_99th: float | None

    @classmethod
    def of(cls, run: Run, lengths: Lengths) -> "Errors":
        after = 100 * (run.after(lengths.tokens) / run.after_step - 1)
        if run.emptied_every > 1:
            return cls(after, None, None)
        mean = run.reserved(round(lengths.tokens / BATCH))
        longest = run.reserved(lengths.longest)
        return cls(after, 100 * (mean / run.reserved_mean - 1), 100 * (longest / run.reserved_99th - 1))


def main() -> None:
    runs = published_runs()
    lengths = Lengths.of(runs[0])
    print(
        f"from the first row: {lengths.tokens:.0f} tokens in the mean batch ({UNPADDED_TOKENS:.0f} without padding), rows of"
        f" {lengths.longest} in the longest hundredth\n\n{'run':42}{'date':12}{'after a step':>14}{'reserved, mean':>16}{'99th':>8}"
    )
    for run in runs:
        found = Errors.of(run, lengths)
        cells = "".join(
            f"{'-' if error is None else f'{error:+.1f} %':>{width}}"
            for error, width in ((found.reserved_mean, 16), (found.reserved_99th, 8))
        )
        print(f"{run.name:42}{run.date:12}{found.after_step:+12.3f} %{cells}")


if __name__ == "__main__":
    main()
