"""A job on one real GPU: that its account is the allocator's, and what it tells when memory runs out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.test_real_gpu import ROOT, usable_gpu
from tests.worker.test_trainer import Job
from tests.worker.tiny import save_tiny
from tunescope.events import ArtifactEvent, LedgerEvent
from tunescope.states import FailureReason
from tunescope.units import MIB
from worker import requests
from worker.probes.nvml_memory import Memory, device_memory

pytestmark = [pytest.mark.gpu, pytest.mark.slow]
PHASES = {"data", "forward", "loss", "backward", "optimizer"}
LITTLE = 32 * MIB
"""Less than what one product of matrices takes on the way, with its workspace."""
WITHIN = """
import sys, torch
torch.cuda.set_per_process_memory_fraction(float(sys.argv.pop(1)))
from worker.trainer.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> str:
    uuid = usable_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", uuid)
    return uuid


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "data", save_tiny(tmp_path / "tiny"))


@pytest.mark.parametrize(
    ("method", "quantization"), [("lora", "none"), ("lora", "nf4"), ("lora", "int8"), ("full", "none")]
)
def test_every_byte_that_torch_allocated_is_accounted_for(job: Job, gpu: str, method: str, quantization: str) -> None:
    sections = {
        "adaptation": {"method": method},
        "precision": {"quantization": quantization},
        "placement": {"probe": True},
    }
    trainer = job.start(sections, gpus=[gpu])
    requests.ask(job.folder(1), "snapshot")
    assert trainer.wait(timeout=250) == 0, job.log()
    ledgers = [event for event in job.events() if isinstance(event, LedgerEvent)]
    assert [(event.probe, event.step) for event in ledgers] == [
        (probe, step) for probe in (True, False) for step in (1, 2, 3)
    ]
    for event in ledgers:
        assert event.source == "cuda tensors"
        assert sum(event.categories.values()) == event.total_bytes == event.allocator_peak_bytes
        assert event.unfollowed_bytes is not None and event.unfollowed_bytes >= 0
        outside = {figure.source: figure for figure in event.outside}
        assert (outside["fragmentation"].bytes or 0) >= 0
        context = outside["runtime_context"]
        assert context.unknown_because if context.bytes is None else 100 * MIB < context.bytes < 2048 * MIB
    for step in job.steps():
        assert {item.phase for item in step.phases if item.source == "torch.allocated" and item.peak_bytes} == PHASES
        assert step.allocator and step.allocator.allocated_bytes <= step.allocator.reserved_bytes
        assert sum(item.seconds for item in step.phases if item.source == "torch.allocated") <= 1.05 * step.step_seconds
    snapshots = [event for event in job.events() if isinstance(event, ArtifactEvent) and event.name.endswith(".pickle")]
    assert len(snapshots) == 1 and snapshots[0].bytes > 0


def test_a_job_that_runs_out_of_memory_says_what_was_held(job: Job, gpu: str) -> None:
    memory = device_memory(gpu)
    assert isinstance(memory, Memory)
    order = job.order({}, gpus=[gpu])
    ended = subprocess.run(
        [sys.executable, "-c", WITHIN, str(LITTLE / memory.total), str(order)],
        cwd=ROOT,
        env=os.environ | {"TUNESCOPE_DATA_DIR": str(job.root), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    failure = job.end().failure
    assert failure and failure.reason is FailureReason.OUT_OF_MEMORY, ended.stderr[-2000:]
    assert failure.memory and failure.memory.device_bytes and failure.memory.device != "CPU"
    assert failure.memory.step == 1 and failure.memory.phase in PHASES and failure.memory.categories["weights"] > 0
