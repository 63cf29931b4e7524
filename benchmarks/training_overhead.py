"""What telling every step costs: ``python -m benchmarks.training_overhead [STEPS]``.

Trains the demo model (NF4 QLoRA) with our trainer and with a plain SFTTrainer, from the same weights, in one process: they take
turns step by step, so that what else the machine does meets both, and every step is on the same row, so that only the machine's
other work makes one longer than another. That only ever adds, so the fastest tenth of steps is compared. Prints the ratio of steps/s
(ours / plain), of wall time and of processor time, for each of two settings: ``fused`` computes the loss as TRL does, so both do
the same arithmetic and the ratio is the overhead of Tunescope; ``default`` has our default fused_loss: false, which TRL lacks.
"""

import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.sft_trainer import SFTTrainer

from tunescope.datasets import BUILTIN_PATH
from tunescope.spec import JobSpec, parse_spec
from worker.outbox import Outbox
from worker.trainer import arithmetic, data, demo, model, train
from worker.trainer.ledger.measuring import FIRST_STEPS
from worker.trainer.lookout import Lookout
from worker.trainer.meter.meter import Meter

WARM_UP_STEPS = FIRST_STEPS
"""The steps whose every tensor we follow: they are slower, and told apart."""
OURS, PLAIN = "ours", "plain"


class Baton:
    """One of two threads holds it; the other waits, until one has left for good."""

    def __init__(self) -> None:
        self._holder = OURS
        self._left = False
        self._passed = threading.Condition()

    def take(self, runner: str) -> None:
        with self._passed:
            self._passed.wait_for(lambda: self._holder == runner or self._left)

    def leave(self) -> None:
        with self._passed:
            self._left = True
            self._passed.notify_all()

    def hand_over(self, runner: str) -> None:
        with self._passed:
            self._holder = PLAIN if runner == OURS else OURS
            self._passed.notify_all()


class Step(NamedTuple):
    """What one step took, from the end of the one before, so that what happens between steps counts."""

    seconds: float
    processor_seconds: float
    """Of all threads of the process: only one of the two trainers runs at a time. Our sampler runs in both's turns, at 0.3 %."""


class Turns(TrainerCallback):
    """Hands the baton over at the end of each step. Added last, so that a turn holds all that a step brings about."""

    def __init__(self, baton: Baton, runner: str) -> None:
        self._baton, self._runner = baton, runner
        self.steps: list[Step] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._begin()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps.append(Step(time.perf_counter() - self._began, time.process_time() - self._processor_began))
        self._baton.hand_over(self._runner)
        self._begin()

    def _begin(self) -> None:
        self._baton.take(self._runner)
        self._began, self._processor_began = time.perf_counter(), time.process_time()


def spec_of(steps: int, fused: bool) -> JobSpec:
    """As this machine would run it: a CPU without 16-bit arithmetic computes in float32."""
    spec = parse_spec(
        {
            "model": {"id": demo.NAME, "source": "library"},
            "data": {"dataset": "vram-questions", "max_length": 128},
            "precision": {"adapter_dtype": "bfloat16"},  # TRL's choice for quantized weights
            "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1},
            "memory_savers": {"fused_loss": fused},
            "schedule": {"max_steps": steps, "save_steps": 10_000},
        }
    )
    return arithmetic.at_speed(spec)[0]


def one_row(spec: JobSpec, tokenizer: PreTrainedTokenizerBase) -> data.TrainingData:
    """The data set's first row, as often as it has rows."""
    rows = data.build_data(BUILTIN_PATH, spec.data, tokenizer, spec.schedule.seed)
    return replace(rows, train=rows.train.select([0] * len(rows.train)))


def our_trainer(spec: JobSpec, weights: Path, folder: Path, opened: ExitStack) -> SFTTrainer:
    tokenizer = model.load_tokenizer(weights)
    rows = one_row(spec, tokenizer)
    outbox, meter = Outbox(folder, job="benchmark", attempt=1), Meter()
    opened.callback(outbox.close)
    opened.callback(meter.close)
    switch, lookout = train.StopSwitch(), Lookout(outbox, stop_in_time=False, where=lambda said: said)
    loaded = model.load_model(weights, spec)
    return train.build_trainer(spec, loaded, tokenizer, rows, folder, outbox, switch, meter, lookout)


def plain_trainer(spec: JobSpec, weights: Path, folder: Path) -> SFTTrainer:
    tokenizer = model.load_tokenizer(weights)
    rows = one_row(spec, tokenizer)
    trainer = SFTTrainer(
        model=model.load_model(weights, spec),
        args=train.sft_config(spec, rows, folder),
        train_dataset=rows.train,
        processing_class=tokenizer,
        peft_config=model.lora_config(spec.adaptation),
    )
    # TRL makes adapters of quantized weights bfloat16 whatever the model computes in; both sides are to do the same arithmetic.
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(getattr(torch, spec.precision.adapter_dtype))
    return trainer


def train_with(baton: Baton, trainer: SFTTrainer) -> None:
    try:
        trainer.train()
    finally:
        baton.leave()


def steps_of(spec: JobSpec) -> tuple[list[Step], list[Step]]:
    """Every step of (ours, plain), which took turns."""
    weights = demo.prepare_demo(Path(tempfile.gettempdir()) / "tunescope-benchmark")
    baton = Baton()
    turns = {runner: Turns(baton, runner) for runner in (OURS, PLAIN)}
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        trainers = {
            OURS: our_trainer(spec, weights, folder / OURS, opened),
            PLAIN: plain_trainer(spec, weights, folder / PLAIN),
        }
        for runner, trainer in trainers.items():
            trainer.add_callback(turns[runner])
        with ThreadPoolExecutor(2) as threads:
            ended = [threads.submit(train_with, baton, trainer) for trainer in trainers.values()]
        for run in ended:
            run.result()
    return turns[OURS].steps, turns[PLAIN].steps


def fastest(seconds: list[float]) -> float:
    """The first decile: few steps are disturbed by nothing, and the very fastest is luck."""
    return quantiles(seconds, n=10)[0]


def line_of(label: str, ours: list[Step], plain: list[Step]) -> str:
    steady = [steps[WARM_UP_STEPS:] for steps in (ours, plain)]
    mine, other = (fastest([step.seconds for step in steps]) for steps in steady)
    my_processor, other_processor = (fastest([step.processor_seconds for step in steps]) for steps in steady)
    middle = median(b.seconds / a.seconds for a, b in zip(*steady, strict=True))
    followed = median(a.seconds / b.seconds for a, b in zip(ours[1:WARM_UP_STEPS], plain[1:WARM_UP_STEPS], strict=True))
    return (
        f"{label:8} {1 / mine:9.3f} {1 / other:9.3f} {other / mine:9.3f} {other_processor / my_processor:15.3f}"
        f" {middle:16.3f} {followed:18.2f}"
    )


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    lines = [line_of("fused" if fused else "default", *steps_of(spec_of(steps, fused))) for fused in (True, False)]
    print(
        f"{steps} steps of each, in turns (the first {WARM_UP_STEPS} followed and told apart); steps/s, ratio = ours / plain"
    )
    print(
        f"{'loss':8} {'ours':>9} {'plain':>9} {'ratio':>9} {'processor time':>15} {'median of pairs':>16} {'followed, times':>18}"
    )
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
