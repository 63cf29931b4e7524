"""The warm process that traces specs: started when first needed, watched while it works, ended when idle or in the way.

It speaks JSON lines: one request in, one answer out. It may die or run wild; that is told in words, never raised further.
"""

import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import psutil

from tunescope.launch import tied_to_parent
from tunescope.sentences import Sentence, say
from worker.supervisor import NOT_FOR_TRAINERS

log = logging.getLogger(__name__)

TRACER = (sys.executable, "-m", "worker.tracer.serve")
LOOK_SECONDS = 0.2
IDLE_SECONDS = 900.0
"""An idle tracer holds about 0.6 GB of main memory; after this time it goes."""
START_SECONDS = 120.0
"""CPU seconds that the imports of torch and transformers may take."""
WALL_TO_CPU = 10
"""On a busy machine a process of low priority waits; this many times its CPU limit it may take by the clock."""


class NotTraced(Exception):
    """There is no trace of this request; ``because`` says why, for its user: a string where a model's own code said it."""

    def __init__(self, because: Sentence | str) -> None:
        super().__init__(because.text if isinstance(because, Sentence) else because)
        self.because = because


class Died(NotTraced):
    """The process ended by itself while it was at work."""


class Stopped(NotTraced):
    """The worker stops."""


@dataclass(frozen=True)
class Limits:
    cpu_seconds: float
    memory_bytes: int


class TracerChild:
    """At most one process, for one thread: it dies with the thread that started it (see tunescope/launch.py)."""

    def __init__(self, log_file: Path, limits: Limits, stop: Event, command: Sequence[str] = TRACER) -> None:
        self._log_file = log_file
        self._limits = limits
        self._stop = stop
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._used_at = time.monotonic()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def ask(self, request: bytes) -> bytes:
        """The answer to one line, without its end. Raises NotTraced."""
        self._used_at = time.monotonic()
        try:
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._process and self._process.stdin
            self._process.stdin.write(request + b"\n")
            answer = self._line(self._limits.cpu_seconds)
        except BrokenPipeError:
            raise self._died() from None
        except NotTraced:
            self.end()
            raise
        self._used_at = time.monotonic()
        return answer

    def end_if_idle(self) -> None:
        if self._process and time.monotonic() - self._used_at > IDLE_SECONDS:
            self.end()

    def end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process = None

    def _start(self) -> None:
        self.end()
        self._rest = b""
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_FOR_TRAINERS}
        # One thread, no GPU, no network: a trace computes nothing and loads no weights.
        quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
        with self._log_file.open("wb") as stderr:
            self._process = subprocess.Popen(
                tied_to_parent(self._command, signal.SIGKILL),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env=inherited | quiet | {"PYTHONUNBUFFERED": "1"},
                bufsize=0,
            )
        log.info("the tracer is process %d", self._process.pid)
        self._line(START_SECONDS, starting=True)

    def _line(self, cpu_seconds: float, starting: bool = False) -> bytes:
        """The next line of the process, watched. Raises NotTraced."""
        assert self._process and self._process.stdout
        output = self._process.stdout.fileno()
        usage = psutil.Process(self._process.pid)
        began, cpu_before = time.monotonic(), cpu_of(usage)
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if self._stop.is_set():
                    raise Stopped("The worker stops.")
                if selector.select(LOOK_SECONDS):
                    data = os.read(output, 1 << 20)
                    if not data:
                        raise self._died()
                    self._rest += data
                    continue
                self._refuse_too_much(usage, time.monotonic() - began, cpu_before, cpu_seconds, starting)
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def _refuse_too_much(
        self, usage: psutil.Process, wall: float, cpu_before: float, cpu_seconds: float, starting: bool
    ) -> None:
        try:
            memory = usage.memory_info().rss
            cpu = cpu_of(usage) - cpu_before
        except psutil.Error:
            return  # it has ended: the next read says so
        if memory > self._limits.memory_bytes:
            kind = "tracer_start_too_large" if starting else "tracer_too_large"
            raise NotTraced(say(kind, most_bytes=self._limits.memory_bytes))
        if cpu > cpu_seconds or wall > cpu_seconds * WALL_TO_CPU:
            raise NotTraced(say("tracer_start_too_slow" if starting else "tracer_too_slow", seconds=cpu_seconds))

    def _died(self) -> Died:
        assert self._process
        status = self._process.wait()
        self.end()
        how = say("by_signal", number=-status) if status < 0 else say("by_exit_code", number=status)
        lines = self._log_file.read_text(errors="replace").strip().splitlines()
        return Died(
            say("tracer_ended_saying", how=how, said=lines[-1][:300]) if lines else say("tracer_ended", how=how)
        )


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds that a process has used; 0 for one that has ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system
