"""Setting up tells of a GPU that the installed torch cannot use, before a job does."""

import os
import subprocess
import sys

import pytest
import torch

from tests.worker.probing import ROOT
from tests.worker.simulated import SimulatedDriver, gpu
from tunescope.units import GIB


def checked(environment: dict[str, str]) -> str:
    answer = subprocess.run(
        [sys.executable, "scripts/gpu_check.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout


@pytest.mark.slow
def test_a_gpu_that_torch_cannot_use_is_told_with_both_versions(driver: SimulatedDriver) -> None:
    if torch.cuda.is_available():
        pytest.skip("torch can use this machine's GPU")
    driver.write(gpu(0, 80 * GIB, name="NVIDIA H100"))
    told = checked(driver.environment)
    assert "NVIDIA H100 cannot be used" in told and torch.__version__ in told
    assert "nvidia driver 580.65.06" in told and "cuda (driver) 13.0" in told


def test_a_machine_without_a_gpu_has_nothing_to_be_told(driver: SimulatedDriver) -> None:
    driver.write()
    assert checked(driver.environment) == ""
