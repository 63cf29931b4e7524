"""Training on several GPUs with a copy of the model on each, here with processes on the CPU: the same code but for NCCL."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until
from tests.worker.test_trainer import Job
from tests.worker.tiny import save_tiny
from tunescope.events import CheckpointEvent, Failure, LedgerEvent, PlanEvent, StateEvent
from tunescope.states import FailureReason, JobState
from tunescope.wire import Order
from worker.trainer import other_ranks

pytestmark = pytest.mark.slow

PLAIN: dict[str, Any] = {
    "precision": {"quantization": "none", "dtype": "float32"},
    "adaptation": {"lora_dropout": 0.0},
    "optimizer": {"learning_rate": 1e-2, "lr_scheduler_type": "constant", "warmup_ratio": 0.0},
}
ON_TWO = {**PLAIN, "parallelism": {"gpus": 2, "strategy": "ddp"}}
ENDLESS = {"schedule": {"max_steps": 100_000, "save_steps": 100_000}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def job(tmp_path: Path, tiny: Path) -> Job:
    return Job(tmp_path / "data", tiny)


def other_rank(first: "subprocess.Popen[bytes]") -> int:
    """The process that a trainer started beside it."""
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    return next(
        pid for pid in map(int, children) if b"worker.trainer.rank" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def test_two_processes_learn_what_one_does_from_twice_the_rows(job: Job) -> None:
    """All rows are alike, so every batch has the same gradient; what the processes do not share would show in its norm."""
    two = job.start(ON_TWO)
    assert two.wait(timeout=200) == 0, job.log()
    assert job.run(PLAIN, attempt=2) == 0
    together, alone = job.steps(1), job.steps(2)
    assert [step.step for step in together] == [1, 2, 3]
    assert [step.loss for step in together] == pytest.approx([step.loss for step in alone], rel=1e-4)
    assert [step.grad_norm for step in together] == pytest.approx([step.grad_norm for step in alone], rel=1e-3)
    for step in together:
        (other,) = (figure for figure in step.memory if figure.source == "gpu2.host.rss")
        assert other.bytes and other.peak_bytes and other.peak_bytes >= other.bytes > 10**8, "a process of its own"
    assert [step.tokens for step in together] == [2 * step.tokens for step in alone], "those of all"
    told = next(event for event in job.events(1) if isinstance(event, PlanEvent))
    assert any("on 2 GPUs" in note and "first" in note for note in told.notes)
    buckets = {event.categories["communication"] for event in job.events(1) if isinstance(event, LedgerEvent)}
    assert buckets == {4 * told.trainable_parameters}, "each gradient once more, in fp32"
    assert (job.folder(1) / "artifacts" / "adapter_model.safetensors").is_file()
    assert job.end(1).state == JobState.SUCCEEDED


def test_all_stop_after_the_same_step_go_on_from_it_and_one_that_is_killed_ends_the_job(job: Job) -> None:
    first = job.start({**ON_TWO, **ENDLESS})
    until(lambda: len(job.steps(1)) > 1 or first.poll() is not None, within=200, what="two steps")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 3, job.log()
    saved = [event for event in job.events(1) if isinstance(event, CheckpointEvent)][-1]
    assert job.end(1).state == JobState.CANCELLED and saved.step == job.steps(1)[-1].step
    second = job.start({**ON_TWO, **ENDLESS}, attempt=2, resume=1)
    until(lambda: bool(job.steps(2)) or second.poll() is not None, within=200, what="a step")
    assert job.steps(2)[0].step == saved.step + 1
    os.kill(other_rank(second), signal.SIGKILL)
    assert second.wait(timeout=60) == 1
    failure = job.end(2).failure
    assert failure is not None and failure.reason == FailureReason.TRAINER_KILLED
    assert failure.detail.startswith("On GPU 2 of 2: The trainer was killed")
    assert failure.memory and failure.memory.phase and failure.memory.step and failure.memory.step > saved.step


PROGRAM = """
import os, sys, time
from pathlib import Path
rank, folder = int(sys.argv[2]), Path(sys.argv[1]).parent
killed = folder / "killed"
def tell(why):
    failure = {"reason": "trainer_crashed", "detail": why + " on " + os.environ["CUDA_VISIBLE_DEVICES"]}
    (folder / f"rank-{rank}-failure.json").write_text(__import__("json").dumps(failure))
"""
FIRST_SPEAKS = """
time.sleep(rank)
tell("no room" if rank == 1 else "connection lost")
time.sleep(4 - rank)
sys.exit(1)
"""
ONE_IS_KILLED = """
if rank == 2:
    killed.touch()
    os.kill(os.getpid(), 9)
while not killed.exists():
    time.sleep(0.1)
time.sleep(0.5)
tell("connection lost")
sys.exit(1)
"""


A_LIBRARY_ENDS_IT = """
if rank == 1:
    with (folder / "trainer.log").open("w") as log:
        log.write("Error out of memory at line 88 in file /src/csrc/ops.cu\\n")
    sys.exit(1)
time.sleep(20)
"""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        pytest.param(FIRST_SPEAKS, "On GPU 2 of 3: no room on GPU-b", id="the first to speak"),
        pytest.param(ONE_IS_KILLED, "On GPU 3 of 3: The trainer was killed", id="one that could not speak"),
        pytest.param(A_LIBRARY_ENDS_IT, "On GPU 2 of 3: Out of memory", id="one whose library spoke for it"),
    ],
)
def test_of_several_that_fail_the_one_is_told_that_broke_the_others(
    job: Job, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    monkeypatch.setattr(other_ranks, "RANK", (sys.executable, "-S", "-c", PROGRAM + script))
    file = job.order({"parallelism": {"gpus": 3, "strategy": "ddp"}}, gpus=["GPU-a", "GPU-b", "GPU-c"])
    heard: list[Failure] = []
    other_ranks.OtherRanks(Order.model_validate_json(file.read_text()), file, job.model, heard.append)
    until(lambda: bool(heard), within=60, what="word of the failure")
    assert heard[0].detail.startswith(told)


def test_settings_that_no_process_can_run_are_told_once_and_as_on_one_gpu(job: Job) -> None:
    process = job.start({**ON_TWO, "adaptation": {"target_modules": ["no_such_layer"]}})
    assert process.wait(timeout=200) == 1
    (failure,) = (event.failure for event in job.events(1) if isinstance(event, StateEvent) and event.failure)
    assert failure.reason == FailureReason.INVALID_SETTINGS
    assert "no_such_layer" in failure.detail and "On GPU" not in failure.detail
