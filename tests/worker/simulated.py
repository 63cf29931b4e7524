"""A simulated NVIDIA driver: builds the library that the real pynvml loads, and writes what it answers.

    driver = SimulatedDriver(folder)
    driver.write(*[gpu(index, total=24 * GIB) for index in range(8)], process("GPU-0", pid, 3 * GIB))

Lines of a scenario are a word and ``name=value`` pairs; the functions below make them. Whatever process loads the library with
``driver.environment`` sees the newest scenario at its next call.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("simulated_nvml.c")


def build_library(folder: Path) -> Path:
    """Build ``libnvidia-ml.so.1`` in ``folder``; skip the test where there is no C compiler. Returns the folder."""
    import pytest  # not above: stand-in trainers use this module too, and start quickly without it

    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the simulated driver library with")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", target, SOURCE], check=True)
    return folder


class SimulatedDriver:
    """The scenario of one machine."""

    def __init__(self, library: Path, scenario: Path) -> None:
        self.scenario = scenario
        self.environment = {"LD_LIBRARY_PATH": str(library), "NVML_SCENARIO": str(scenario)}

    def write(self, *lines: str, generation: int = 0) -> None:
        """Make this the machine from now on. A new ``generation`` is a driver that was loaded anew."""
        text = "\n".join([line("driver", generation=generation, version="580.65.06", cuda=13000), *lines, ""])
        new = self.scenario.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.scenario)


def line(word: str, **values: str | int | None) -> str:
    pairs = [f"{name}={str(value).replace(' ', '~')}" for name, value in values.items() if value is not None]
    return " ".join([word, *pairs])


def gpu(index: int, total: int, *, name: str = "Simulated 24GB", mig_on: bool = False, **figures: int) -> str:
    """A GPU ``GPU-<index>``. ``figures``: reserved, util, temp, power, limit (mW), sm, mem (MHz), throttle, ecc_volatile …"""
    return line("gpu", gpu=index, uuid=f"GPU-{index}", name=name, total=total, mig_on=int(mig_on), **figures)


def mig(index: int, place: int, total: int, name: str = "Simulated MIG 1g.12gb") -> str:
    """A MIG instance ``MIG-<index>-<place>`` of a GPU."""
    return line("gpu", gpu=index, mig=place, uuid=f"MIG-{index}-{place}", name=name, total=total)


def process(uuid: str, pid: int, held: int | None, *, foreign: bool = False, draws: bool = False) -> str:
    """A process that holds memory of a GPU while it lives; a ``foreign`` one always. None: the driver hides how much."""
    hidden = 2**64 - 1
    return line(
        "process", uuid=uuid, pid=pid, bytes=hidden if held is None else held, foreign=int(foreign), draws=int(draws)
    )


def growing(uuid: str, pid: int, start: float, points: Sequence[tuple[float, int]]) -> str:
    """A foreign process whose bytes follow (seconds since ``start``, bytes) points, straight between them."""
    curve = ",".join(f"{seconds}:{held}" for seconds, held in points)
    return line("process", uuid=uuid, pid=pid, foreign=1, start=int(start), curve=curve)


def fail(function: str, code: int, index: int | None = None) -> str:
    """A function of NVML that answers this error code, on one GPU or on all."""
    return line("fail", function=function, code=code, gpu=index)


def xid(index: int, code: int) -> str:
    """A fault: told once to whoever listened before this line was written."""
    return line("xid", gpu=index, code=code)


def lost(index: int) -> str:
    """A GPU that has fallen off the bus: every question about it is answered with NVML_ERROR_GPU_IS_LOST."""
    return line("lost", gpu=index)
