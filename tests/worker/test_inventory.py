"""What a worker says of its machine: through the real pynvml package and a simulated driver library."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunescope.units import GIB
from tunescope.wire import NO_GPU_DRIVER, MachineReport

SOURCE = Path(__file__).with_name("simulated_nvml.c")
ROOT = Path(__file__).resolve().parents[2]
# The reported process is the leader of its group, as a trainer is.
PROGRAM = """
import os
from worker.inventory import Inventory
os.environ["NVML_PID"] = str(os.getpid())
import ctypes; ctypes.CDLL(None).setenv(b"NVML_PID", str(os.getpid()).encode(), 1)
print(Inventory("m").report({"job-1": os.getpgid(0)}).model_dump_json())
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the simulated driver library with")
    folder = tmp_path_factory.mktemp("nvml")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", SOURCE], check=True)
    return folder


def report(folder: Path, **environment: str) -> MachineReport:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=os.environ | {"LD_LIBRARY_PATH": str(folder)} | environment,
        capture_output=True,
        check=True,
        start_new_session=True,
    )
    return MachineReport.model_validate_json(answer.stdout)


def test_gpus_and_whose_job_fills_them(library: Path) -> None:
    told = report(library)
    assert [gpu.uuid for gpu in told.gpus] == ["GPU-0", "GPU-1"]
    first = told.gpus[0]
    assert (first.total_bytes, first.used_bytes, first.free_bytes) == (24 * GIB, 4 * GIB, 20 * GIB)
    assert (first.utilization_percent, first.temperature_celsius, first.power_watts) == (37, 55, 123.5)
    assert first.unknown == {} and told.gpus_unknown_because is None
    assert [(process.job, process.used_bytes) for process in first.processes] == [("job-1", 3 * GIB)]
    assert told.gpus[1].processes == []


@pytest.mark.parametrize(
    ("fail", "figure", "reason"),
    [
        ("memory:3", "memory", "this GPU does not tell it"),
        ("power:3", "power_watts", "this GPU does not tell it"),
        ("utilization:4", "utilization_percent", "no permission"),
        ("processes:15", "processes", "fallen off the bus"),
    ],
)
def test_figure_that_fails_is_unknown_with_its_reason(library: Path, fail: str, figure: str, reason: str) -> None:
    gpu = report(library, NVML_FAIL=fail).gpus[0]
    assert reason in gpu.unknown[figure]
    assert len(gpu.unknown) == 1
    if figure == "memory":
        assert gpu.total_bytes is None and gpu.free_bytes is None


def test_memory_of_a_process_that_the_driver_hides_is_unknown_not_zero(library: Path) -> None:
    assert report(library, NVML_PROCESS_UNKNOWN="1").gpus[0].processes[0].used_bytes is None


def test_driver_that_is_not_loaded_is_a_fault_not_a_machine_without_gpus(library: Path) -> None:
    told = report(library, NVML_FAIL="init:9")
    assert told.gpus == []
    assert told.gpus_unknown_because == "the NVIDIA driver is installed but not loaded"


def test_one_broken_gpu_does_not_hide_the_other(library: Path) -> None:
    assert [gpu.uuid for gpu in report(library, NVML_FAIL="handle1:15").gpus] == ["GPU-0"]


def test_machine_without_a_driver_says_so() -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")
    told = report(Path("/nonexistent"))
    assert (told.gpus_unknown_because or "").startswith(NO_GPU_DRIVER)
    assert told.host_total_bytes >= told.host_available_bytes > 0


def test_worker_imports_no_torch() -> None:
    program = "import sys, worker.__main__; sys.exit('torch' in sys.modules or 'backend' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
