"""Runs one attempt as a child in its own process group: starts it, hears it, ends it, and always says how it ended.

One thread calls ``run()``; ``ask()`` may be called from any other. The child dies with that thread (see tunescope/launch.py).
"""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from tunescope.events import LogEvent, StateEvent, job_event
from tunescope.launch import tied_to_parent
from tunescope.states import TERMINAL, JobState
from tunescope.wire import AttemptOrder, ChatOrder, MergeOrder
from worker.allocator_settings import with_segments
from worker.chat.advice import for_chat
from worker.childlog import FILE as LOG_FILE
from worker.childlog import ChildLog, Stream
from worker.death import explain_death, oom_kills
from worker.merging.advice import for_merge
from worker.oom import last_memory
from worker.outbox import BELL_ENV, Outbox, complete_lines
from worker.whereabouts import last_whereabouts

log = logging.getLogger(__name__)

TRAINER = (sys.executable, "-m", "worker.trainer")
CHAT = (sys.executable, "-m", "worker.chat")
MERGE = (sys.executable, "-m", "worker.merging")
LINGER_SECONDS = 15.0
"""How long a trainer may take to exit after its last word."""
MEMORY_KINDS = (b'"kind":"step"', b'"kind":"ledger"')
NOT_FOR_TRAINERS = ("TUNESCOPE_ADMIN_TOKEN", "DATABASE_URL", "REDIS_URL")


class Ask(IntEnum):
    """What a running attempt is asked to do; a stronger request replaces a weaker one."""

    GO_ON = 0
    CANCEL = 1
    """The user's wish: save a checkpoint, leave, and say ``cancelled``."""
    LEAVE = 2
    """The worker stops: leave without a last word, so that the controller has another attempt continue."""
    LOSE = 3
    """A later attempt owns the job: end at once, without a last word."""


class Supervisor:
    """One attempt's child process."""

    def __init__(
        self,
        order: AttemptOrder,
        attempt_dir: Path,
        outbox: Outbox,
        *,
        ring: Callable[[], None],
        grace_seconds: float,
        command: Sequence[str] = TRAINER,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.order = order
        self.pid: int | None = None
        self._dir = attempt_dir
        self._outbox = outbox
        self._ring = ring
        self._grace = grace_seconds
        self._command = command
        self._environment = environment or {}
        self._asked = Ask.GO_ON
        self._ask_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._log = ChildLog(attempt_dir / LOG_FILE, self._tell_line)
        self._seen = 0
        self._memory_lines: dict[bytes, bytes] = {}
        """The newest line of each kind that says something about memory."""
        self._last_state: JobState | None = None

    def ask(self, what: Ask) -> None:
        """Ask the attempt to end. Safe from any thread and from a signal handler; harmless when it has ended."""
        with self._ask_lock:
            self._asked = max(self._asked, what)
            with contextlib.suppress(OSError):
                os.write(self._wake_write, b"!")

    def run(self) -> JobState | None:
        """Run the trainer to its end. Returns its final state, or None if it left without one (LEAVE, LOSE)."""
        order_file = self._dir / "order.json"
        order_file.write_text(self.order.model_dump_json(indent=1))
        oom_before = oom_kills()
        bell_read, bell_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._look()
        try:
            child = subprocess.Popen(
                tied_to_parent([*self._command, str(order_file)], signal.SIGKILL),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=(bell_write,),
                env=self._child_environment(bell_write),
                bufsize=0,
            )
        finally:
            os.close(bell_write)
        self.pid = child.pid
        log.info("job %s attempt %d: trainer is process %d", self.order.job, self.order.attempt, child.pid)
        try:
            status = self._watch(child, bell_read)
        finally:
            os.close(bell_read)
            with self._ask_lock:
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_write = -1
        self._look()
        return self._last_word(status, oom_before)

    def _child_environment(self, bell: int) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_FOR_TRAINERS}
        return {
            # On a CPU shared with anything else, threads that spin at a barrier keep the last one off its core: half as long again
            # beside one busy process, more beside several (benchmarks/openmp_waiting.py).
            "OMP_WAIT_POLICY": "PASSIVE",
            **with_segments(inherited, self.order.spec.memory_savers.expandable_segments),
            **self._environment,
            BELL_ENV: str(bell),
            # A trainer on several GPUs starts a process for each of the others (worker/trainer/other_ranks.py).
            "CUDA_VISIBLE_DEVICES": ",".join(self.order.gpus[:1]),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "PYTHONUNBUFFERED": "1",
        }

    def _watch(self, child: "subprocess.Popen[bytes]", bell: int) -> int:
        """Serve the child's pipes until it ends; returns its exit status (negative: the signal)."""
        assert child.stdout and child.stderr
        pidfd = os.pidfd_open(child.pid)
        asked, kill_at = Ask.GO_ON, float("inf")
        with selectors.DefaultSelector() as selector:
            streams: dict[int, Stream] = {child.stdout.fileno(): "stdout", child.stderr.fileno(): "stderr"}
            for descriptor in (pidfd, bell, self._wake_read, *streams):
                os.set_blocking(descriptor, False) if descriptor != pidfd else None
                selector.register(descriptor, selectors.EVENT_READ)
            ended = False
            while not ended:
                ready = {key.fd for key, _ in selector.select(min(1.0, max(0.0, kill_at - time.monotonic())))}
                for descriptor in ready & streams.keys():
                    if not self._read(descriptor, streams[descriptor]):
                        selector.unregister(descriptor)
                if bell in ready:
                    _drain(bell)
                    self._look()
                    self._ring()
                    if self._last_state in TERMINAL:
                        kill_at = min(kill_at, time.monotonic() + LINGER_SECONDS)
                _drain(self._wake_read)
                if self._asked > asked:
                    asked = self._asked
                    kill_at = min(kill_at, self._begin_end(child, asked))
                if time.monotonic() >= kill_at:
                    self._kill(child, asked)
                    kill_at = float("inf")
                ended = pidfd in ready
            os.close(pidfd)
            # The leader is dead but not reaped, so its group id is still ours: what it left behind goes too.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            for descriptor, stream in streams.items():
                while self._read(descriptor, stream, at_once=True):
                    pass
        child.stdout.close()
        child.stderr.close()
        status = child.wait()
        self._log.close()
        return status

    def _begin_end(self, child: "subprocess.Popen[bytes]", asked: Ask) -> float:
        """Ask the child to go; returns when (monotonic seconds) it must be gone."""
        if asked is Ask.LOSE:
            return time.monotonic()
        # The trainer saves a checkpoint on both. On SIGUSR1 it says nothing, as the job is to go on elsewhere.
        number = signal.SIGTERM if asked is Ask.CANCEL else signal.SIGUSR1
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)
        return time.monotonic() + self._grace

    def _kill(self, child: "subprocess.Popen[bytes]", asked: Ask) -> None:
        if asked is not Ask.LOSE and self._last_state not in TERMINAL:
            self._say_line(f"the trainer did not leave within {self._grace:g} s; it is killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    def _read(self, descriptor: int, stream: Stream, at_once: bool = False) -> bool:
        """Pass on what a pipe holds; False at its end (or, ``at_once``, when it is empty)."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return not at_once
        if data:
            self._log.feed(stream, data)
        return bool(data)

    def _look(self) -> None:
        """Note the last state that the outbox tells, and its last words about memory."""
        while True:
            lines, self._seen = complete_lines(self._outbox.path, self._seen)
            if not lines:
                return
            for line in lines:
                for kind in MEMORY_KINDS:
                    if kind in line:
                        self._memory_lines[kind] = line
                if b'"kind":"state"' in line:
                    event = job_event.validate_json(line)
                    if isinstance(event, StateEvent):
                        self._last_state = event.state

    def _last_word(self, status: int, oom_before: int | None) -> JobState | None:
        if self._last_state in TERMINAL:
            return self._last_state
        if self._asked in (Ask.LEAVE, Ask.LOSE):
            return None
        if self._asked is Ask.CANCEL:
            self._say(StateEvent, state=JobState.CANCELLED)
            return JobState.CANCELLED
        where = last_whereabouts(self._dir)
        memory = last_memory([job_event.validate_json(line) for line in self._memory_lines.values()], where)
        failure = explain_death(status, oom_before, oom_kills(), self._log.last_lines, memory, where.stage)
        if isinstance(self.order, ChatOrder):
            failure = for_chat(failure)
        elif isinstance(self.order, MergeOrder):
            failure = for_merge(failure)
        log.warning("job %s attempt %d: %s", self.order.job, self.order.attempt, failure.detail.splitlines()[0])
        self._say(StateEvent, state=JobState.FAILED, failure=failure)
        return JobState.FAILED

    def _tell_line(self, stream: Stream, line: str) -> None:
        with contextlib.suppress(OSError):
            self._say(LogEvent, stream=stream, line=line)

    def _say_line(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._say(LogEvent, stream="trainer", line=line)

    def _say(self, event_class: type[Any], **fields: Any) -> None:
        self._outbox.emit(event_class, **fields)
        self._ring()


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass
