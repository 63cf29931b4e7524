"""The processes that ``tunescope up`` starts, watches and ends: each in a process group of its own."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tunescope.launch import tied_to_parent
from tunescope.problems import Unavailable

LOOK_SECONDS = 0.05
IMPATIENT_SECONDS = 1.0
"""A second signal counts as a second wish only after so long: make and process managers send one twice."""


class Stopped(Exception):
    """Ctrl-C, SIGTERM or a closed terminal."""


class Switch:
    """Notes the signals that ask for the end. They never interrupt a line of code, so no process is started unseen."""

    def __init__(self) -> None:
        self.pressed = False
        self.impatient = False
        self._pressed_at = 0.0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._press)

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.pressed:
            self.pressed, self._pressed_at = True, now
        elif now - self._pressed_at > IMPATIENT_SECONDS:
            self.impatient = True

    def wait(self, seconds: float = LOOK_SECONDS) -> None:
        """Sleep. Raises Stopped, also if the signal came before."""
        end = time.monotonic() + seconds
        while not self.pressed and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))
        if self.pressed:
            raise Stopped


@dataclass
class Part:
    """One process of the server, with its log. It ends with us, even if we are killed."""

    name: str
    command: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    failures: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0

    def start(self, environment: Mapping[str, str]) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tied_to_parent(self.command, signal.SIGTERM),
                env=dict(environment),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    def running(self) -> bool:
        """Whether it still runs; what an ended one left behind in its group is killed."""
        if self.process is None or self.process.returncode is not None:
            return False
        if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return True
        # The leader is dead but not reaped, so its group id is still ours.
        self._signal_group(signal.SIGKILL)
        self.process.wait()
        return False

    def end(self, number: int) -> None:
        if self.running():
            self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        assert self.process is not None
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def last_lines(self, count: int = 8) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-count:])


def run_step(name: str, command: list[str], environment: Mapping[str, str], switch: Switch) -> str:
    """Run a command to its end; its output. Raises Unavailable, or Stopped and then the command is killed."""
    with subprocess.Popen(
        tied_to_parent(command, signal.SIGTERM),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while True:
            try:
                output, said = process.communicate(timeout=LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if switch.pressed:
                    process.kill()
                    raise Stopped from None
    if process.returncode:
        raise Unavailable(f"{name} failed:\n{said.strip()[-2000:]}")
    return output.strip()
