"""A job on two real GPUs, over NCCL; on the CPU the same code is tested in tests/worker/test_parallel.py."""

from pathlib import Path

import pytest

from tests.gpu.test_real_gpu import usable_gpus
from tests.worker.test_trainer import Job
from tests.worker.tiny import save_tiny
from tunescope.events import LedgerEvent, PlanEvent

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_two_gpus_train_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: str) -> None:
    two = usable_gpus()[:2]
    if len(two) < 2:
        pytest.skip("needs two GPUs with 4 GiB free each")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", two[0])
    job = Job(tmp_path / "data", save_tiny(tmp_path / "tiny"))
    on_two = {"parallelism": {"gpus": 2, "strategy": "ddp"}, "precision": {"quantization": quantization}}
    assert job.start(on_two, gpus=two).wait(timeout=250) == 0, job.log()
    assert [step.step for step in job.steps()] == [1, 2, 3]
    told = next(event for event in job.events() if isinstance(event, PlanEvent))
    ledgers = [event for event in job.events() if isinstance(event, LedgerEvent)]
    assert all(event.source == "cuda tensors" for event in ledgers)
    assert all(event.categories["communication"] >= 4 * told.trainable_parameters for event in ledgers)
