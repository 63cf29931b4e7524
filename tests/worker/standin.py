"""Stands in for the trainer in the tests of what surrounds it: tells events the same way, and does what the job's name says.

Run as the trainer is: ``python standin.py <attempt_dir>/order.json``. A name is what to do, how many steps, and on simulated GPUs
how much to hold of them: "slow 200 holding 8" (GiB).
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from tests.worker.simulated import process
from tunescope.events import ArtifactEvent, CheckpointEvent, MemoryFigure, PlanEvent, StageEvent, StateEvent, StepEvent
from tunescope.states import JobState
from tunescope.units import GIB
from tunescope.wire import Order
from worker.outbox import Outbox


def hold(gpus: list[str], held: int) -> None:
    """Tell the simulated driver that this process holds memory of its GPUs, until it dies."""
    scenario = os.environ.get("NVML_SCENARIO")
    if scenario and held:
        with open(f"{scenario}.jobs", "a") as file:
            file.writelines(process(uuid, os.getpid(), held) + "\n" for uuid in gpus)


def tell_beginning(outbox: Outbox, steps: int) -> None:
    outbox.emit(StageEvent, stage="fetching the model", detail="model.safetensors", done=2**20, total=2**21)
    counts = {"train_rows": 10, "trainable_parameters": 5, "all_parameters": 100}
    outbox.emit(PlanEvent, total_steps=steps, device="CPU", **counts)


def leave(outbox: Outbox, folder: Path) -> None:
    """Two files, as a trainer leaves its adapter."""
    folder.mkdir()
    for name, content in (("adapter_config.json", b"{}"), ("adapter_model.safetensors", bytes(3 << 20))):
        (folder / name).write_bytes(content)
        outbox.emit(ArtifactEvent, name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def main() -> int:
    order_file = Path(sys.argv[1])
    order = Order.model_validate_json(order_file.read_text())
    outbox = Outbox(order_file.parent, job=order.job, attempt=order.attempt)
    wish, *rest = order.spec.name.split()
    count = rest[0] if rest else "3"
    held = int(float(rest[2]) * GIB) if rest[1:2] == ["holding"] else 0
    hold(order.gpus, held)
    asked: list[int] = []
    if wish == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    signal.signal(signal.SIGUSR1, lambda number, _: asked.append(number))
    steps = int(count) if count.isdecimal() else 3
    if wish in ("telling", "leaving"):
        tell_beginning(outbox, steps)
    outbox.emit(StateEvent, state=JobState.RUNNING)
    for step in range(1, steps + 1):
        print(f"step {step}")
        outbox.emit(
            StepEvent,
            step=step,
            total_steps=steps,
            epoch=step / steps,
            loss=1 / step,
            learning_rate=1e-4,
            grad_norm=None,
            tokens=10,
            tokens_per_second=100.0,
            step_seconds=0.1,
            memory=[MemoryFigure(source="nvml.process", bytes=held, peak_bytes=held)] if held else [],
        )
        if step == 1:
            outbox.emit(CheckpointEvent, step=step, path="checkpoints/checkpoint-1")
        if wish == "suicide" and step == 2:
            print("last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if wish in ("slow", "deaf"):
            time.sleep(0.05)
        if asked:
            if asked[0] == signal.SIGUSR1:
                return 4
            outbox.emit(StateEvent, state=JobState.CANCELLED)
            return 3
    if wish == "leaving":
        leave(outbox, order_file.parent / "artifacts")
    outbox.emit(StateEvent, state=JobState.SUCCEEDED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
