"""Data-parallel training (DDP): one process a GPU, each with a copy of the model and rows of its own.

The supervisor starts the first, which starts the others, speaks for all, and ends when one of them ends unheard. Each process
sees only its own GPU, so that everywhere here "GPU 0" is the one at hand. NCCL copes with that: a handle of CUDA's
inter-process memory may be opened for a device that the process does not see (cudaIpcOpenMemHandle).
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL

import torch
from torch.nn.parallel import DistributedDataParallel

from tunescope.events import OTHERS, Failure, MemoryFigure
from tunescope.launch import tied_to_parent
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec
from tunescope.wire import Order
from worker.death import explain_death, oom_kills
from worker.outbox import BELL_ENV
from worker.trainer.meter.meter import HOST, PROCESS, RESERVED, StepFigures

RANK = (sys.executable, "-m", "worker.trainer.rank")
RENDEZVOUS_FILE = "rendezvous"
PATIENCE = timedelta(hours=2)
"""How long one process waits for another: while the first writes a checkpoint to a slow disk, the others stand at the next step."""
HELD = (PROCESS, RESERVED, HOST)
"""What stands for all that a process holds: the first that is known."""
LOOK_SECONDS = 0.05
"""Sooner than NCCL's watchdog, which looks every 100 ms and aborts the process when a connection broke (ProcessGroupNCCL.cpp)."""
AFTERMATH_SECONDS = 3.0
"""When a process dies, what the others say of the broken connection comes within this time."""


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


def is_lost_connection(error: BaseException) -> bool:
    """Whether this is what one process raises when another went away (of gloo, a plain RuntimeError that names its source file)."""
    return isinstance(error, torch.distributed.DistError) or "gloo/" in str(error)


def tell_failure(attempt_dir: Path, rank: int, failure: Failure) -> None:
    """Leave the first process word of why this one failed."""
    file = failure_file(attempt_dir, rank)
    written = file.with_suffix(".part")
    written.write_text(failure.model_dump_json())
    written.replace(file)


def failure_file(attempt_dir: Path, rank: int) -> Path:
    """Where a process other than the first says why it failed."""
    return attempt_dir / f"rank-{rank}-failure.json"


class OtherRanks:
    """The processes beside the first. ``lost`` is called, from a thread, with why one of them failed; it does not return."""

    def __init__(self, order: Order, order_file: Path, model: Path, lost: Callable[[Failure], None]) -> None:
        self._dir = order_file.parent
        self._lost = lost
        self._oom_before = oom_kills()
        self._failed = threading.Event()
        (self._dir / RENDEZVOUS_FILE).unlink(missing_ok=True)
        self._children = {
            rank: _started(order, [str(order_file), str(rank), str(model)], rank)
            for rank in range(1, processes(order.spec))
        }
        threading.Thread(target=self._watch, name="other ranks", daemon=True).start()

    def wait(self) -> None:
        """Until all have ended well; does not return if one fails."""
        if any([child.wait() for child in self._children.values()]):
            threading.Event().wait()

    def yield_to_failure(self) -> None:
        """Does not return if another process failed, now or in a moment: what was raised here is then but the consequence."""
        if self._failed.wait(AFTERMATH_SECONDS):
            threading.Event().wait()

    def _watch(self) -> None:
        running = True
        while (rank := self._first_to_fail()) is None:
            if not running:
                return
            running = any(child.poll() is None for child in self._children.values())
            time.sleep(LOOK_SECONDS)
        self._failed.set()
        said, status = failure_file(self._dir, rank), self._children[rank].poll()
        if said.is_file() or status is None:
            failure = Failure.model_validate_json(said.read_text())
        else:
            failure = explain_death(status, self._oom_before, oom_kills(), [])
        all_of_them = len(self._children) + 1
        self._lost(failure.within(lambda detail: say("on_gpu", gpu=rank + 1, gpus=all_of_them, failure=detail)))

    def _first_to_fail(self) -> int | None:
        """The rank whose end broke the others: one that was killed without a word, else the one that spoke first."""
        spoke = {
            rank: file.stat().st_mtime for rank in self._children if (file := failure_file(self._dir, rank)).is_file()
        }
        silent = [rank for rank, child in self._children.items() if child.poll() and rank not in spoke]
        return silent[0] if silent else min(spoke, key=lambda rank: spoke[rank], default=None)


def _started(order: Order, arguments: Sequence[str], rank: int) -> "subprocess.Popen[bytes]":
    # The bell's pipe is not handed on: the first process tells all there is to tell.
    inherited = {name: value for name, value in os.environ.items() if name != BELL_ENV}
    gpus = {"CUDA_VISIBLE_DEVICES": order.gpus[rank]} if order.gpus else {}
    command = tied_to_parent([*RANK, *arguments], SIGKILL)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**inherited, **gpus})


def notes(spec: JobSpec) -> list[Sentence]:
    """What a person should know of the figures of a job on several GPUs."""
    return [say("first_gpu_measured", gpus=processes(spec))] if processes(spec) > 1 else []
