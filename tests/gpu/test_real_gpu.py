"""What only a real NVIDIA GPU can show: NVML's figures against torch's own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import GPUS_TO_TEST
from tunescope.units import MIB
from worker.probes.nvml import Nvml
from worker.probes.nvml_memory import Memory
from worker.probes.reading import Unknown

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, os, sys
import torch
from worker.probes.nvml import Nvml, device_memory, process_memory
from worker.probes.reading import Unknown

closed = Nvml().open()
assert closed is None, closed
uuid = os.environ["CUDA_VISIBLE_DEVICES"]
torch.ones(1, device="cuda").add_(1)
torch.cuda.synchronize()

def told():
    process, device = process_memory(uuid, os.getpid()), device_memory(uuid)
    return {
        "process": process.because if isinstance(process, Unknown) else process,
        "used": device.used,
        "reserved": torch.cuda.memory_reserved(),
    }

before = told()
block = torch.empty(int(sys.argv[1]), dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
after = told()
del block
torch.cuda.empty_cache()
print(json.dumps({"before": before, "after": after, "released": told()}))
"""
BLOCK = 1024 * MIB


def usable_gpus() -> list[str]:
    """UUIDs of the GPUs that CUDA can use and we may; skips the test, saying why, where there is none."""
    gpus = Nvml().gpus()
    if isinstance(gpus, Unknown):
        pytest.skip(f"needs an NVIDIA GPU: {gpus.because}")
    ours = os.environ[GPUS_TO_TEST]
    working = [
        gpu
        for gpu in gpus
        if gpu.unusable is None
        and not gpu.divided
        and (ours == "all" or {gpu.uuid, str(gpu.index)} & set(ours.split(",")))
    ]
    roomy = [gpu.uuid for gpu in working if isinstance(gpu.memory, Memory) and gpu.memory.free > 4 * BLOCK]
    if not roomy:
        pytest.skip("needs a GPU with 4 GiB free")
    return roomy


def usable_gpu() -> str:
    return usable_gpus()[0]


def told_by_torch_and_nvml(uuid: str) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(BLOCK)],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": uuid},
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    if "CUDA driver" in answer.stderr or "not compiled with CUDA" in answer.stderr:
        pytest.skip(f"torch cannot use the GPU: {answer.stderr.splitlines()[-1]}")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_every_gpu_tells_its_memory_and_the_parts_sum_up() -> None:
    usable_gpu()
    gpus = Nvml().gpus()
    assert not isinstance(gpus, Unknown)
    for gpu in gpus:
        assert isinstance(gpu.memory, Memory), gpu.memory
        assert gpu.memory.used + gpu.memory.free == gpu.memory.total
        assert isinstance(gpu.memory.reserved, Unknown) or 0 <= gpu.memory.reserved <= gpu.memory.used


def test_the_drivers_figure_of_a_process_moves_with_torchs_cache() -> None:
    told = told_by_torch_and_nvml(usable_gpu())
    before, after, released = told["before"], told["after"], told["released"]
    grown = after["reserved"] - before["reserved"]
    assert grown >= BLOCK
    if isinstance(before["process"], str):
        pytest.skip(f"the driver does not tell this process's memory here: {before['process']}")
    # The driver maps whole pages of 2 MiB.
    assert abs(after["process"] - before["process"] - grown) <= 4 * MIB
    assert released["process"] < after["process"] - BLOCK // 2


def test_the_cuda_context_is_the_drivers_figure_less_torchs_cache() -> None:
    told = told_by_torch_and_nvml(usable_gpu())
    if isinstance(told["after"]["process"], str):
        pytest.skip(f"the driver does not tell this process's memory here: {told['after']['process']}")
    contexts = [moment["process"] - moment["reserved"] for moment in (told["before"], told["after"])]
    assert all(100 * MIB < context < 2048 * MIB for context in contexts), contexts
    assert abs(contexts[1] - contexts[0]) <= 4 * MIB, "allocating does not change the context"
