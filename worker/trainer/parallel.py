"""Data-parallel training (DDP): one process a GPU, each with a copy of the model and rows of its own.

The supervisor starts the first, which starts the others (other_ranks.py) and speaks for all. Each process sees only its own GPU,
so that everywhere here "GPU 0" is the one at hand. NCCL copes with that: a handle of CUDA's inter-process memory may be opened for a
device that the process does not see (cudaIpcOpenMemHandle).
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from tunescope.events import Failure, MemoryFigure, source_on_gpu
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec
from tunescope.states import FailureReason
from tunescope.wire import Order
from worker.probes.nvml import Nvml
from worker.probes.nvml_memory import device_index
from worker.probes.reading import Unknown, figure
from worker.trainer.meter.meter import HOST, PROCESS, RESERVED, StepFigures

RENDEZVOUS_FILE = "rendezvous"
PATIENCE = timedelta(hours=2)
"""How long one process waits for another: while the first writes a checkpoint to a slow disk, the others stand at the next step."""
HELD = (PROCESS, RESERVED, HOST)
"""What stands for all that a process holds: the first that is known."""
UNTOLD = Unknown(say("other_process_untold"))
OF_ONE_GPU = (FailureReason.OUT_OF_MEMORY, FailureReason.GPU_LOST)
"""What befalls one of several GPUs; the first process meets all else for the job as a whole."""


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
    """The end of what ``join`` began; nothing where one process trains. None goes before all have come, the first with its last checkpoint."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def on_gpu(said: Sentence | str, order: Order, rank: int) -> Sentence:
    """What is told of one of a job's several GPUs, with its number: the one that the Machines page and nvidia-smi have, if the driver tells it."""
    gpus = processes(order.spec)
    index = (Nvml().open() or device_index(order.gpus[rank])) if order.gpus else UNTOLD
    if isinstance(index, Unknown):
        return say("on_gpu", gpu=rank + 1, gpus=gpus, failure=said)
    return say("on_gpu_of_machine", index=index, gpu=rank + 1, gpus=gpus, failure=said)


def where(order: Order, rank: int) -> Callable[[Sentence], Sentence]:
    """How a process says what it has to tell: of which GPU it is, where there are several."""
    return (lambda said: on_gpu(said, order, rank)) if processes(order.spec) > 1 else (lambda said: said)


def failed_on(failure: Failure, order: Order, rank: int) -> Failure:
    """The same failure with the GPU it was on, where there are several."""
    return failure.within(lambda detail: on_gpu(detail, order, rank)) if processes(order.spec) > 1 else failure


def together(pressed: bool, figures: StepFigures, device: torch.device) -> tuple[bool, StepFigures]:
    """At the end of a step: whether any process is to stop, and the figures with tokens and longest row of all, and what each other holds.

    All of them have to ask.
    """
    if not torch.distributed.is_initialized():
        return pressed, figures
    held = [number for source in HELD for number in _held(figures.of(source))]
    counted = [int(pressed), figures.tokens, figures.longest_tokens or 0]
    mine = torch.tensor([*counted, *held], dtype=torch.int64, device=device)
    of_all = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(of_all, mine)
    rows: list[list[int]] = torch.stack(of_all).tolist()
    mine_at = torch.distributed.get_rank()
    others = [_told_of(rank, row[len(counted) :]) for rank, row in enumerate(rows) if rank != mine_at]
    return any(row[0] for row in rows), replace(
        figures,
        tokens=sum(row[1] for row in rows),
        longest_tokens=max(row[2] for row in rows) or None,
        memory=[*figures.memory, *others],
    )


def _held(own: MemoryFigure) -> tuple[int, int]:
    """Bytes now and at their highest; zeros where that is not known."""
    return (own.bytes, own.peak_bytes or own.bytes) if own.bytes else (0, 0)


def _told_of(rank: int, held: list[int]) -> MemoryFigure:
    """What another process holds, by the first of HELD that it knows."""
    for place, source in enumerate(HELD):
        now, peak = held[2 * place : 2 * place + 2]
        if now:
            return figure(source_on_gpu(rank + 1, source), now, peak)
    return figure(source_on_gpu(rank + 1, PROCESS), UNTOLD)


def bucket_bytes(model: object) -> list[int]:
    """Sizes of the buckets that DDP copies gradients to, to exchange them, as its reducer tells; none where it does not wrap ``model``."""
    if not isinstance(model, DistributedDataParallel):
        return []
    told = model._get_ddp_logging_data()  # pyright: ignore[reportPrivateUsage]
    return [int(size) for size in str(told.get("rebuilt_bucket_sizes") or told["bucket_sizes"]).split(", ")]


def notes(spec: JobSpec) -> list[Sentence]:
    """What a person should know of the figures of a job on several GPUs."""
    return [say("first_gpu_measured", gpus=processes(spec))] if processes(spec) > 1 else []
