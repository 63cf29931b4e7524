"""A stage of an attempt in a process of its own: all that it takes is free again afterwards, and its death is not the attempt's."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunescope.events import Failure
from worker.death import explain_death, oom_kills
from worker.libraries import AS_PROGRAM
from worker.outbox import BELL_ENV
from worker.stop import StopSwitch

LOOK_SECONDS = 0.2


def run_beside(
    module: str,
    attempt_dir: Path,
    stop: StopSwitch,
    stage: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Failure | None:
    """Run the ``main`` of ``module`` with ATTEMPT_DIR and ``arguments``; why the job cannot go on, or None. Ends early with the switch."""
    # The bell's pipe is not handed on: what the process tells is delivered when the trainer tells the next thing.
    inherited = {name: value for name, value in os.environ.items() if name != BELL_ENV}
    told, before = failure_file(attempt_dir, module), oom_kills()
    child = subprocess.Popen(
        [sys.executable, *AS_PROGRAM, module, str(attempt_dir), *arguments], env=inherited | dict(environment or {})
    )
    while True:
        try:
            status = child.wait(LOOK_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if stop.pressed:
                child.kill()
    if status == 0 or stop.pressed:
        return None
    if told.is_file():
        return Failure.model_validate_json(told.read_text())
    return explain_death(status, before, oom_kills(), [], stage=stage)


def exit_status(module: str, attempt_dir: Path, failure: Failure | None) -> int:
    """What the process itself leaves: its status, and the failure where ``run_beside`` finds it."""
    if failure is None:
        return 0
    failure_file(attempt_dir, module).write_text(failure.model_dump_json())
    return 1


def failure_file(attempt_dir: Path, module: str) -> Path:
    return attempt_dir / f"{module.rpartition('.')[2]}-failure.json"
