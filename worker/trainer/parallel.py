"""Data-parallel training (DDP): one process a GPU, each with a copy of the model and rows of its own.

The supervisor starts the first, which starts the others (other_ranks.py) and speaks for all. Each process sees only its own GPU,
so that everywhere here "GPU 0" is the one at hand. NCCL copes with that: a handle of CUDA's inter-process memory may be opened for a
device that the process does not see (cudaIpcOpenMemHandle).
"""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from tunescope.events import OTHERS, MemoryFigure
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec
from worker.trainer.meter.meter import HOST, PROCESS, RESERVED, StepFigures

RENDEZVOUS_FILE = "rendezvous"
PATIENCE = timedelta(hours=2)
"""How long one process waits for another: while the first writes a checkpoint to a slow disk, the others stand at the next step."""
HELD = (PROCESS, RESERVED, HOST)
"""What stands for all that a process holds: the first that is known."""


def processes(spec: JobSpec) -> int:
    """How many processes train the job."""
    return spec.parallelism.gpus if spec.parallelism.strategy == "ddp" else 1


def join(rank: int, size: int, attempt_dir: Path) -> None:
    """Make this process number ``rank`` of ``size``, in the terms that accelerate looks for. Returns when all are there."""
    cuda = torch.cuda.is_available()
    # Of the one GPU that it sees, each process has the first.
    local = {"LOCAL_RANK": "0" if cuda else str(rank), "LOCAL_WORLD_SIZE": str(size)}
    os.environ.update({"RANK": str(rank), "WORLD_SIZE": str(size), **local})
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"file://{(attempt_dir / RENDEZVOUS_FILE).resolve()}",
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
        device_id=torch.device("cuda", 0) if cuda else None,
    )


def leave() -> None:
    """The end of what ``join`` began; nothing where one process trains. All do so at once, as NCCL waits for the others here."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def together(pressed: bool, figures: StepFigures, device: torch.device) -> tuple[bool, StepFigures]:
    """At the end of a step: whether any process is to stop, and the figures with the tokens of all and what the others hold.

    All of them have to ask.
    """
    if not torch.distributed.is_initialized():
        return pressed, figures
    held = [number for source in HELD for number in _held(figures.of(source))]
    mine = torch.tensor([int(pressed), figures.tokens, *held], dtype=torch.int64, device=device)
    of_all = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(of_all, mine)
    rows: list[list[int]] = torch.stack(of_all).tolist()
    others = [row[2:] for rank, row in enumerate(rows) if rank != torch.distributed.get_rank()]
    memory = [*figures.memory, *_highest(others)]
    return any(row[0] for row in rows), replace(figures, tokens=sum(row[1] for row in rows), memory=memory)


def _held(figure: MemoryFigure) -> tuple[int, int]:
    """Bytes now and at their highest; zeros where that is not known."""
    return (figure.bytes, figure.peak_bytes or figure.bytes) if figure.bytes else (0, 0)


def _highest(held: list[list[int]]) -> list[MemoryFigure]:
    """The most that one of the other processes holds, by the first of HELD that all of them know."""
    for place, source in enumerate(HELD):
        now, peak = ([row[2 * place + part] for row in held] for part in (0, 1))
        if all(now):
            return [MemoryFigure(source=OTHERS + source, bytes=max(now), peak_bytes=max(peak))]
    return []


def bucket_bytes(model: object) -> list[int]:
    """Sizes of the buckets that DDP copies gradients to, to exchange them, as its reducer tells; none where it does not wrap ``model``."""
    if not isinstance(model, DistributedDataParallel):
        return []
    told = model._get_ddp_logging_data()  # pyright: ignore[reportPrivateUsage]
    return [int(size) for size in str(told.get("rebuilt_bucket_sizes") or told["bucket_sizes"]).split(", ")]


def notes(spec: JobSpec) -> list[Sentence]:
    """What a person should know of the figures of a job on several GPUs."""
    return [say("first_gpu_measured", gpus=processes(spec))] if processes(spec) > 1 else []
