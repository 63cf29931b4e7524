"""What telling every step costs: ``python -m benchmarks.training_overhead [STEPS] [ROUNDS]``.

Trains the demo model (NF4 QLoRA) with our trainer and with a plain SFTTrainer, in turns in one process, from the same weights, on the
same rows. Prints the ratio of steps/s (ours / plain), and of processor time a step, which a busy machine disturbs less, for each of two
settings: ``fused`` computes the loss as TRL does, so both do the same arithmetic and the ratio is the overhead of Tunescope;
``default`` has our default fused_loss: false, which TRL lacks.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from transformers import TrainerCallback
from trl.trainer.sft_trainer import SFTTrainer

from tunescope.datasets import BUILTIN_PATH
from tunescope.spec import JobSpec, parse_spec
from worker.outbox import Outbox
from worker.trainer import arithmetic, data, demo, model, train
from worker.trainer.ledger.measuring import FIRST_STEPS
from worker.trainer.meter.meter import Meter

WARM_UP_STEPS = FIRST_STEPS
"""The steps whose every tensor we follow: they are slower, and told apart."""


class Stopwatch(TrainerCallback):
    """Seconds from the end of one step to the end of the next, so that what happens between steps counts."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.processor_ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())
        self.processor_ends.append(time.process_time())

    def times(self) -> "Times":
        return Times(
            steady=mean_step(self.ends[WARM_UP_STEPS - 1 :]),
            first=mean_step(self.ends[:WARM_UP_STEPS]),
            processor=mean_step(self.processor_ends[WARM_UP_STEPS - 1 :]),
        )


class Times(NamedTuple):
    """Seconds a step: of steady ones, of steps 2 and 3, and of the processor in steady ones (all threads of the process)."""

    steady: float
    first: float
    processor: float


def mean_step(ends: list[float]) -> float:
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def spec_of(steps: int, fused: bool) -> JobSpec:
    """As this machine would run it: a CPU without 16-bit arithmetic computes in float32."""
    spec = parse_spec(
        {
            "model": {"id": demo.NAME, "source": "library"},
            "data": {"dataset": "vram-questions", "max_length": 256},
            "precision": {"adapter_dtype": "bfloat16"},  # TRL's choice for quantized weights
            "batch": {"gradient_accumulation_steps": 1},
            "memory_savers": {"fused_loss": fused},
            "schedule": {"max_steps": steps, "save_steps": 10_000},
        }
    )
    return arithmetic.at_speed(spec)[0]


def measure(ours: bool, spec: JobSpec, folder: Path) -> Times:
    """One fresh run in ``folder``."""
    weights = demo.prepare_demo(Path(tempfile.gettempdir()) / "tunescope-benchmark")
    loaded, tokenizer = model.load_model(weights, spec), model.load_tokenizer(weights)
    rows = data.build_data(BUILTIN_PATH, spec.data, tokenizer, spec.schedule.seed)
    stopwatch = Stopwatch()
    if ours:
        outbox, measuring = Outbox(folder, job="benchmark", attempt=1), Meter()
        switch = train.StopSwitch()
        trainer: SFTTrainer = train.build_trainer(spec, loaded, tokenizer, rows, folder, outbox, switch, measuring)
        trainer.add_callback(stopwatch)
        trainer.train()
        measuring.close()
        outbox.close()
    else:
        trainer = SFTTrainer(
            model=loaded,
            args=train.sft_config(spec, rows, folder),
            train_dataset=rows.train,
            processing_class=tokenizer,
            peft_config=model.lora_config(spec.adaptation),
            callbacks=[stopwatch],
        )
        # TRL makes adapters of quantized weights bfloat16 whatever the model computes in; both sides are to do the same arithmetic.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(getattr(torch, spec.precision.adapter_dtype))
        trainer.train()
    return stopwatch.times()


def main() -> None:
    steps, rounds = (int(value) for value in (sys.argv[1:] + ["12", "3"][len(sys.argv) - 1 :])[:2])
    lines: list[str] = []
    for fused in (True, False):
        pairs: list[tuple[float, float]] = []
        followed: list[float] = []
        processor: list[float] = []
        for number in range(rounds):
            seconds: dict[bool, Times] = {}
            for ours in (number % 2 == 0, number % 2 == 1):  # who goes first changes: the machine may warm up
                with tempfile.TemporaryDirectory() as folder:
                    seconds[ours] = measure(ours, spec_of(steps, fused), Path(folder))
            pairs.append((seconds[True].steady, seconds[False].steady))
            followed.append(seconds[True].first / seconds[False].first)
            processor.append(seconds[False].processor / seconds[True].processor)
        ratios = sorted(plain / mine for mine, plain in pairs)
        mine, plain = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
        label = "fused" if fused else "default"
        lines.append(
            f"{label:8} {1 / mine:9.3f} {1 / plain:9.3f} {median(ratios):9.3f}   {ratios[0]:.3f} … {ratios[-1]:.3f}"
            f"   processor time {median(processor):.3f}; followed steps take {median(followed):.2f} times as long"
        )
    print(
        f"{steps} steps (the first {WARM_UP_STEPS} followed and told apart), {rounds} rounds each; steps/s, ratio = ours / plain"
    )
    print(f"{'loss':8} {'ours':>9} {'plain':>9} {'ratio':>9}   range over rounds", *lines, sep="\n")


if __name__ == "__main__":
    main()
