"""A job on several GPUs: each of them is watched, measured and named. Two processes on the CPU, whose GPUs a simulated driver has."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until
from tests.worker.probing import ROOT
from tests.worker.simulated import SimulatedDriver, gpu, process
from tests.worker.test_parallel import ENDLESS, ON_TWO
from tests.worker.test_trainer import Job
from tests.worker.tiny import save_tiny
from tunescope.events import CheckpointEvent, WarningEvent
from tunescope.states import FailureReason, JobState
from tunescope.units import GIB

pytestmark = pytest.mark.slow

CARDS = [gpu(index, 24 * GIB) for index in range(3)]
SECOND = "On GPU 2 (number 2 of the job's 2): "
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "data", save_tiny(tmp_path / "tiny"))


@pytest.fixture
def start(job: Job, driver: SimulatedDriver) -> Start:
    """Starts a job on the GPUs 1 and 2 of the machine."""

    def started(sections: dict[str, Any], **environment: str) -> "subprocess.Popen[bytes]":
        driver.write(*CARDS)
        file = job.order(sections, gpus=["GPU-1", "GPU-2"])
        known = {"TUNESCOPE_DATA_DIR": str(job.root), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "GPU-1"}
        with (file.parent / "trainer.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.worker.on_simulated_gpus", str(file)],
                cwd=ROOT,
                env=os.environ | driver.environment | known | environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    return started


def test_when_another_process_takes_the_second_gpu_all_stop_in_time(
    job: Job, start: Start, driver: SimulatedDriver
) -> None:
    first = start({**ON_TWO, **ENDLESS, "placement": {"stop_before_oom": True}})
    until(lambda: len(job.steps()) > 3 or first.poll() is not None, within=200, what="four steps")
    driver.write(*CARDS, process("GPU-2", 4242, 14 * GIB, foreign=True))
    assert first.wait(timeout=100) == 1, job.log()
    (warning,) = (event for event in job.events() if isinstance(event, WarningEvent) and event.code == "other_process")
    assert warning.message.startswith(f"{SECOND}Another process on this GPU has grown by 14.0 GiB")
    end, last = job.end(), job.steps()[-1].step
    assert warning.step == last
    saved = [event for event in job.events() if isinstance(event, CheckpointEvent)][-1]
    assert saved.step == last and (job.folder(1) / saved.path / "trainer_state.json").is_file()
    assert end.state is JobState.FAILED and end.failure and end.failure.memory
    assert end.failure.reason is FailureReason.OUT_OF_MEMORY
    assert end.failure.detail.startswith(f"{SECOND}Stopped after step {last}, with a checkpoint"), end.failure.detail
    assert end.failure.memory.step == last and end.failure.memory.categories["weights"] > 0
    for step in job.steps():
        held = {figure.source: figure.peak_bytes for figure in step.memory if "nvml.process" in figure.source}
        assert held == {"nvml.process": 8 * GIB, "gpu2.nvml.process": 9 * GIB}


def test_out_of_memory_on_the_second_gpu_is_told_with_its_phase_step_and_account(job: Job, start: Start) -> None:
    assert start({**ON_TWO, **ENDLESS}, RUNS_OUT="1 5").wait(timeout=200) == 1, job.log()
    failure = job.end().failure
    assert failure is not None and failure.reason is FailureReason.OUT_OF_MEMORY
    assert failure.detail.startswith(f"{SECOND}Out of memory in the forward phase of step 5: CUDA out of memory")
    memory = failure.memory
    assert memory is not None and (memory.step, memory.phase) == (5, "forward")
    assert memory.categories["weights"] > 0 and memory.categories_of_step == 3, "the newest step that it followed"
    assert memory.longest_tokens


def test_out_of_memory_on_the_first_gpu_is_told_of_that_one(job: Job, start: Start) -> None:
    assert start({**ON_TWO, **ENDLESS}, RUNS_OUT="0 2").wait(timeout=200) == 1, job.log()
    failure = job.end().failure
    assert failure is not None
    assert failure.detail.startswith("On GPU 1 (number 1 of the job's 2): Out of memory in the forward phase of step 2")
