"""A job whose GPU torch cannot use ends at once and says why: it never trains on the CPU instead."""

from pathlib import Path

import pytest
import torch

from tests.worker.test_trainer import Job
from tunescope.events import StageEvent
from tunescope.states import FailureReason
from worker.trainer.device import refuse_without_gpu
from worker.trainer.failure import explain

OLD = "The NVIDIA driver on your system is too old (found version 12020).\nPlease update your GPU driver."


def test_a_gpu_that_torch_cannot_use_ends_the_job_before_its_model_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init() -> None:
        raise RuntimeError(OLD)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    job = Job(tmp_path, tmp_path / "never-looked-at")
    assert job.run({}, gpus=["GPU-0"]) == 1
    failure = job.end().failure
    assert failure is not None and failure.reason is FailureReason.GPU_LOST
    assert failure.detail.endswith("The NVIDIA driver on your system is too old (found version 12020).")
    assert "torch.cuda.init()" in failure.advice
    assert [event.stage for event in job.events() if isinstance(event, StageEvent)] == ["loading libraries"]


def test_it_goes_on_with_a_gpu_that_torch_can_use_and_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refuse_without_gpu([])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    refuse_without_gpu(["GPU-0"])


def test_a_gpu_too_old_for_torchs_kernels_is_no_fault_of_the_model() -> None:
    error = torch.AcceleratorError(
        "CUDA error: no kernel image is available for execution on the device\nCompile with …"
    )
    failure = explain(error, "loading the model")
    assert failure.reason is FailureReason.GPU_LOST and "no kernel image is available" in failure.detail


def test_a_fault_of_cuda_while_the_model_is_loaded_is_none_of_the_model() -> None:
    fault = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    assert explain(fault, "loading the model").reason is FailureReason.TRAINER_CRASHED
    assert explain(RuntimeError("size mismatch"), "loading the model").reason is FailureReason.INVALID_MODEL
