"""The processes of a training on several simulated GPUs: they compute on the CPU, and their GPUs are the simulated driver's.

    python -m tests.worker.on_simulated_gpus ORDER          the first of them
    python -m tests.worker.on_simulated_gpus ORDER RANK MODEL   another, which the first starts

Each holds 8 GiB of its GPU by the driver's account, and 1 GiB more for each process before it. The environment variable
``RUNS_OUT`` ("RANK STEP") has one of them find no memory in the forward phase of a step.
"""

import os
import sys
from dataclasses import replace
from typing import Any

import torch

from tests.worker.simulated import process
from tunescope.events import AllocatorFigures, MemoryFigure
from tunescope.units import GIB
from worker.probes import process_groups
from worker.trainer import __main__ as first
from worker.trainer import device, other_ranks, rank, train
from worker.trainer.meter import meter, sources
from worker.trainer.meter.meter import Meter, StepFigures

HELD, RESERVED, ALLOCATED = 8 * GIB, 7 * GIB, 6 * GIB


def hold(number: int) -> None:
    with open(f"{os.environ['NVML_SCENARIO']}.jobs", "a") as file:
        file.write(process(sources.gpu_uuid(), os.getpid(), HELD + number * GIB) + "\n")


def with_gpu(end: Any) -> Any:
    """``Meter.end`` with what torch's allocator would say."""
    counted = AllocatorFigures(
        retries=0, out_of_memory=0, inactive_split_bytes=0, reserved_bytes=RESERVED, allocated_bytes=ALLOCATED
    )
    told = [
        MemoryFigure(source="torch.allocated", bytes=ALLOCATED, peak_bytes=ALLOCATED),
        MemoryFigure(source="torch.reserved", bytes=RESERVED, peak_bytes=RESERVED),
    ]

    def figures(self: Meter) -> StepFigures:
        found: StepFigures = end(self)
        return replace(found, allocator=counted, memory=[*told, *found.memory])

    return figures


def running_out(compute: Any, at: int) -> Any:
    def loss(self: train.MeteredTrainer, *arguments: Any, **options: Any) -> Any:
        if self.measuring.step == at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return compute(self, *arguments, **options)

    return loss


def main() -> int:
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    hold(number)
    process_groups.on_host_numbers = lambda *_: True  # the simulated driver has ours
    meter.sources = lambda: [*sources.nvml_sources(sources.gpu_uuid()), sources.host_source()]
    Meter.end = with_gpu(Meter.end)
    device.refuse_without_gpu = lambda _: None
    other_ranks.RANK = (sys.executable, "-m", "tests.worker.on_simulated_gpus")
    who, at = map(int, os.environ.get("RUNS_OUT", "-1 0").split())
    if who == number:
        # Where the phase has begun: inside the model.
        train.Trainer.compute_loss = running_out(train.Trainer.compute_loss, at)
    return rank.main() if number else first.main()


if __name__ == "__main__":
    sys.exit(main())
