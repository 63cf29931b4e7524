"""A job that asks for a kernel which its machine has not fails before its model is fetched, and says what to do."""

from pathlib import Path

import pytest
import torch

from tests.worker.test_trainer import Job
from tunescope.events import StageEvent
from tunescope.spec import parse_spec
from tunescope.states import FailureReason
from worker.trainer import kernels
from worker.trainer.failure import explain

FLASH = {"memory_savers": {"attention": "flash_attention_2"}}
SPEC = parse_spec({"model": {"id": "m"}, "data": {"dataset": "d"}, **FLASH})


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with an A100 as far as torch tells."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100")
    return monkeypatch


def test_without_flash_attn_the_job_fails_before_its_model_is_fetched(
    tmp_path: Path, ampere: pytest.MonkeyPatch
) -> None:
    ampere.setattr(kernels, "find_spec", lambda _name: None)
    ampere.setattr(kernels, "is_flash_attn_2_available", lambda: False)
    job = Job(tmp_path, tmp_path / "never-looked-at")
    assert job.run(FLASH) == 1
    failure = job.end().failure
    assert failure is not None and failure.reason is FailureReason.INVALID_SETTINGS
    assert "flash-attn 2.3.3" in failure.detail and "there is none" in failure.detail
    assert "sdpa" in failure.advice and "pip install flash-attn" in failure.advice
    stages = [event.stage for event in job.events() if isinstance(event, StageEvent)]
    assert stages == ["loading libraries"]


@pytest.mark.parametrize(
    ("gpu", "capability", "words"), [(False, (0, 0), "on a GPU only"), (True, (7, 5), "Ampere generation")]
)
def test_without_a_gpu_for_it_sdpa_is_the_remedy(
    ampere: pytest.MonkeyPatch, gpu: bool, capability: tuple[int, int], words: str
) -> None:
    ampere.setattr(torch.cuda, "is_available", lambda: gpu)
    ampere.setattr(torch.cuda, "get_device_capability", lambda: capability)
    with pytest.raises(kernels.NoKernel, match=words) as refused:
        kernels.refuse_without_kernel(SPEC)
    failure = explain(refused.value, "loading libraries")
    assert failure.reason is FailureReason.INVALID_SETTINGS
    assert failure.advice == "Clone the job with memory_savers.attention set to sdpa."


def test_with_the_package_and_a_gpu_it_goes_on(ampere: pytest.MonkeyPatch) -> None:
    ampere.setattr(kernels, "is_flash_attn_2_available", lambda: True)
    kernels.refuse_without_kernel(SPEC)


def test_other_kernels_need_nothing() -> None:
    for name in ("eager", "sdpa"):
        saving = SPEC.memory_savers.model_copy(update={"attention": name})
        kernels.refuse_without_kernel(SPEC.model_copy(update={"memory_savers": saving}))
