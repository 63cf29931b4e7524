"""A worker's probes in a process of their own, since a driver library is found when a process starts.

Run as a program it answers one question a line; ``Probing`` is the other end.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.worker.simulated import SimulatedDriver
from tunescope.wire import GpuReport, MachineReport

ROOT = Path(__file__).resolve().parents[2]


class Probing:
    """Asks an ``Inventory`` and the probes on a simulated driver. ``prefix`` is a command to run the child with."""

    def __init__(self, driver: SimulatedDriver | None, prefix: list[str] | None = None, **environment: str) -> None:
        self._child = subprocess.Popen(
            [*(prefix or []), sys.executable, "-m", "tests.worker.probing"],
            cwd=ROOT,
            env=os.environ | (driver.environment if driver else {}) | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = int(self._ask("pid"))

    def report(self, **running: int) -> MachineReport:
        """The machine now; ``running`` maps jobs to the leaders of their process groups."""
        return MachineReport.model_validate(self._ask("report", running))

    def gpu(self, uuid: str, **running: int) -> GpuReport:
        return {gpu.uuid: gpu for gpu in self.report(**running).gpus}[uuid]

    def process_memory(self, uuid: str, pid: int) -> int | str:
        """Bytes, or the reason why they are unknown."""
        return self._ask("process_memory", uuid, pid)

    def maps(self) -> str:
        """What the probing process has loaded."""
        return Path(f"/proc/{self.pid}/maps").read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(10)

    def _ask(self, *question: Any) -> Any:
        assert self._child.stdin and self._child.stdout
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer, f"the probing process died of {question}"
        return json.loads(answer)


def main() -> None:
    from worker.inventory import Inventory
    from worker.probes import nvml
    from worker.probes.process_groups import process_memory
    from worker.probes.reading import Unknown

    nvml.REOPEN_SECONDS = float(os.environ.get("REOPEN_SECONDS", "0"))
    inventory = Inventory("m")
    nvml.Nvml().open()
    for question in sys.stdin:
        name, *arguments = json.loads(question)
        if name == "report":
            answer: Any = inventory.report(*arguments).model_dump(mode="json")
        elif name == "process_memory":
            found = process_memory(*arguments)
            answer = found.because if isinstance(found, Unknown) else found
        else:
            answer = os.getpid()
        print(json.dumps(answer), flush=True)
    inventory.close()


if __name__ == "__main__":
    main()
