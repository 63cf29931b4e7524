"""What a worker says of its machine where there is nothing to say of GPUs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.probing import ROOT, Probing
from tunescope.wire import NO_GPU_DRIVER


def test_machine_without_a_driver_says_so() -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")
    with Probing(None) as probing:
        told = probing.report()
    assert told.gpus == [] and (told.gpus_unknown_because or "").startswith(NO_GPU_DRIVER)
    assert told.host_total_bytes >= told.host_available_bytes > 0
    assert told.cpu_count >= 1 and {"torch", "accelerate", "tunescope"} <= told.versions.keys()


def test_worker_imports_no_torch() -> None:
    program = "import sys, worker.__main__; sys.exit('torch' in sys.modules or 'backend' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
