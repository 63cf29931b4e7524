"""The processes of data-parallel training beside the first: started and watched, so that none ends unheard while the rest wait for it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGKILL

import torch

from tunescope.events import Failure
from tunescope.launch import tied_to_parent
from tunescope.states import FailureReason
from tunescope.wire import Order
from worker.childlog import last_lines
from worker.death import explain_death, oom_kills
from worker.libraries import AS_PROGRAM
from worker.oom import last_memory
from worker.outbox import BELL_ENV
from worker.trainer.parallel import RENDEZVOUS_FILE, failed_on, processes
from worker.whereabouts import last_whereabouts

RANK = (sys.executable, *AS_PROGRAM, "worker.trainer.rank")
LOOK_SECONDS = 0.05
"""Sooner than NCCL's watchdog, which looks every 100 ms and aborts the process when a connection broke (ProcessGroupNCCL.cpp)."""
AFTERMATH_SECONDS = 3.0
"""When a process dies, what the others say of the broken connection comes within this time."""
FOUND_BY_ALL = (FailureReason.INVALID_MODEL, FailureReason.INVALID_DATASET, FailureReason.INVALID_SETTINGS)
"""The first process finds these too: it may say so itself, as they are not of one GPU."""


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
        self._order, self._dir = order, order_file.parent
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
        failure = self._told(rank)
        if failure.reason in FOUND_BY_ALL:
            time.sleep(AFTERMATH_SECONDS)
        self._lost(failed_on(failure, self._order, rank))

    def _told(self, rank: int) -> Failure:
        said, status = failure_file(self._dir, rank), self._children[rank].poll()
        if said.is_file() or status is None:
            return Failure.model_validate_json(said.read_text())
        where = last_whereabouts(self._dir, rank)
        lines = last_lines(self._dir)
        return explain_death(status, self._oom_before, oom_kills(), lines, last_memory([], where), where.stage)

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
