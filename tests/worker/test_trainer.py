"""The trainer, through its own command, on a tiny random Llama: every precision, cancel, resume, failures."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from tests.worker.tiny import TURNS, save_rows, save_tiny
from tunescope.events import (
    ArtifactEvent,
    CheckpointEvent,
    EvaluationEvent,
    JobEvent,
    LogEvent,
    PlanEvent,
    StateEvent,
    StepEvent,
)
from tunescope.states import FailureReason, JobState
from worker.outbox import read_events
from worker.trainer.__main__ import main

ROWS = 24
SPEC: dict[str, Any] = {
    "model": {"id": "tiny", "source": "library"},
    "data": {"dataset": "rows", "max_length": 64},
    "batch": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    "optimizer": {"learning_rate": 1e-3},
    "schedule": {"max_steps": 3, "save_steps": 2, "logging_steps": 2},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


class Job:
    """Starts the trainer on a spec; reads what it told."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root, self.model = root, model
        save_rows(root / "datasets" / "rows.jsonl", ROWS)

    def folder(self, attempt: int) -> Path:
        return self.root / "jobs" / "j" / str(attempt)

    def order(
        self, sections: dict[str, Any], attempt: int = 1, resume: int | None = None, gpus: Sequence[str] = ()
    ) -> Path:
        order = {
            "job": "j", "attempt": attempt, "fence": attempt, "resume_from_attempt": resume, "gpus": list(gpus),
            "spec": {**SPEC, **sections}, "model": {"kind": "path", "location": str(self.model)},
            "dataset": {"name": "rows", "path": "datasets/rows.jsonl", "sha256": "", "rows": ROWS},
        }  # fmt: skip
        self.folder(attempt).mkdir(parents=True)
        file = self.folder(attempt) / "order.json"
        file.write_text(json.dumps(order))
        return file

    def start(self, sections: dict[str, Any], **options: Any) -> subprocess.Popen[bytes]:
        file = self.order(sections, **options)
        env = {**os.environ, "TUNESCOPE_DATA_DIR": str(self.root), "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
        with (file.parent / "trainer.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "worker.trainer", str(file)], env=env, stdout=log, stderr=log
            )

    def run(self, sections: dict[str, Any], **options: Any) -> int:
        """To the end in this process, which has the libraries loaded; returns the exit status."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TUNESCOPE_DATA_DIR", str(self.root))
                patch.setattr(sys, "argv", ["worker.trainer", str(self.order(sections, **options))])
                return main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def events(self, attempt: int = 1) -> list[JobEvent]:
        return list(read_events(self.folder(attempt)))

    def steps(self, attempt: int = 1) -> list[StepEvent]:
        return [event for event in self.events(attempt) if isinstance(event, StepEvent)]

    def end(self, attempt: int = 1) -> StateEvent:
        return [event for event in self.events(attempt) if isinstance(event, StateEvent)][-1]

    def log(self) -> str:
        return (self.folder(1) / "trainer.log").read_text()[-3000:]


def plan(job: Job, attempt: int) -> PlanEvent:
    return next(event for event in job.events(attempt) if isinstance(event, PlanEvent))


@pytest.fixture
def job(tmp_path: Path, tiny: Path) -> Job:
    return Job(tmp_path / "data", tiny)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "quantization"), [("lora", "none"), ("lora", "nf4"), ("lora", "int8"), ("full", "none")]
)
def test_every_way_to_train_tells_each_step_and_leaves_a_model(
    job: Job, tiny: Path, method: str, quantization: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = {"adaptation": {"method": method}, "precision": {"quantization": quantization}}
    assert job.run(sections) == 0
    events = job.events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.state for event in events if isinstance(event, StateEvent)]
    assert states == [JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED]
    assert [step.step for step in job.steps()] == [1, 2, 3]
    for step in job.steps():
        assert step.loss is not None and step.grad_norm is not None and step.tokens > 0
        assert [figure.source for figure in step.memory if figure.bytes] == ["host.rss"]
    lines = [event.line.split("  loss")[0] for event in events if isinstance(event, LogEvent) and "loss" in event.line]
    assert lines == ["step 2/3", "step 3/3"], "every logging_steps, and the last"
    assert "'loss'" not in capsys.readouterr().out, "nothing else prints the steps"
    artifacts = {event.name: event for event in events if isinstance(event, ArtifactEvent)}
    assert all(len(event.sha256) == 64 for event in artifacts.values()) and "spec.yaml" in artifacts
    folder = job.folder(1) / "artifacts"
    assert "training_args.bin" not in artifacts and not list(job.folder(1).rglob("training_args.bin")), (
        "no needless pickle"
    )
    if method == "lora":
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), folder)
    else:
        told = plan(job, 1)
        assert told.trainable_parameters == told.all_parameters and "model.safetensors" in artifacts


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 3), (signal.SIGUSR1, 4)])
def test_a_stop_saves_a_checkpoint_and_the_next_attempt_goes_on_from_it(
    job: Job, number: signal.Signals, status: int
) -> None:
    long = {"schedule": {"max_steps": 100_000, "save_steps": 100_000}, "precision": {"quantization": "none"}}
    process = job.start(long)
    deadline = time.monotonic() + 120
    while not job.steps() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(timeout=60) == status, job.log()
    assert "FutureWarning" not in job.log() and "pip install" not in job.log(), "words for programmers"
    # Only a cancel speaks for the job; a worker that leaves hands it on.
    expected = JobState.CANCELLED if number == signal.SIGTERM else JobState.RUNNING
    assert job.end().state == expected
    saved = [event for event in job.events() if isinstance(event, CheckpointEvent)][-1]
    assert (job.folder(1) / saved.path / "adapter_model.safetensors").is_file()
    assert saved.step == job.steps()[-1].step
    rest = {**long, "schedule": {"max_steps": saved.step + 2}}
    assert job.run(rest, attempt=2, resume=1) == 0
    assert [step.step for step in job.steps(2)] == [saved.step + 1, saved.step + 2]
    assert plan(job, 2).resumed_step == saved.step


@pytest.mark.slow
def test_an_attempt_that_goes_on_from_the_last_step_only_saves_what_was_trained(job: Job) -> None:
    """A constant rate, so that a step too many would change the weights."""
    done = {"schedule": {"max_steps": 3, "save_steps": 3}, "precision": {"quantization": "none"}}
    done["optimizer"] = {"learning_rate": 1e-3, "lr_scheduler_type": "constant"}
    assert job.run(done) == 0 and plan(job, 1).resumed_step == 0
    assert job.run(done, attempt=2, resume=1) == 0
    assert job.steps(2) == [] and job.end(2).state == JobState.SUCCEEDED and plan(job, 2).resumed_step == 3
    first, second = (
        next(
            each.sha256 for each in job.events(attempt) if isinstance(each, ArtifactEvent) and "adapter_m" in each.name
        )
        for attempt in (1, 2)
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [["no_such_layer"], ["q_proj", "lm_head"]], ids=["not there", "the head, which TRL refuses"]
)
def test_target_modules_that_cannot_be_trained_fail_with_a_reason(job: Job, names: list[str]) -> None:
    assert job.run({"adaptation": {"target_modules": names}, "precision": {"quantization": "none"}}) == 1
    failure = job.end().failure
    assert (
        failure is not None and failure.reason == FailureReason.INVALID_SETTINGS and "target_modules" in failure.advice
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adaptation", "field"),
    [
        ({"target_modules": ["q_proj", "q_porj"]}, "target_modules"),
        ({"modules_to_save": ["lm_head", "embed_tokns"]}, "modules_to_save"),
    ],
)
def test_one_wrong_name_among_right_ones_is_named_before_training(
    job: Job, adaptation: dict[str, list[str]], field: str
) -> None:
    """peft would train the right ones alone, without a word."""
    assert job.run({"adaptation": adaptation, "precision": {"quantization": "none"}}) == 1
    failure = job.end().failure
    assert failure is not None and failure.reason == FailureReason.INVALID_SETTINGS
    right, wrong = adaptation[field]
    assert wrong in failure.detail and right not in failure.detail
    assert f"adaptation.{field}" in failure.advice and "q_proj" in failure.advice
    assert not job.steps()


@pytest.mark.slow
def test_rows_that_are_cut_before_anything_is_learned_are_told(job: Job) -> None:
    sections: dict[str, Any] = {"precision": {"quantization": "none"}, "data": {"dataset": "rows", "max_length": 8}}
    assert job.run(sections) == 1
    failure = job.end().failure
    assert failure is not None and failure.reason == FailureReason.INVALID_SETTINGS
    assert "24 rows" in failure.detail and "8 tokens" in failure.detail and "data.max_length" in failure.advice
    late = {"messages": [{**TURNS[0], "content": "a " * 500}, TURNS[1]]}
    rows = [json.dumps({"messages": TURNS})] * 20 + [json.dumps(late)] * 3
    (job.root / "datasets" / "rows.jsonl").write_text("\n".join(rows))
    assert job.run({"precision": {"quantization": "none"}}, attempt=2) == 0
    plan = next(event for event in job.events(2) if isinstance(event, PlanEvent))
    assert plan.train_rows == 20, "those that are trained on"
    told = "3 of 23 rows are left out: nothing to learn lies within their first 64 tokens (data.max_length)."
    assert told in plan.notes
    assert told in [event.line for event in job.events(2) if isinstance(event, LogEvent)]


@pytest.mark.slow
def test_an_evaluation_is_logged_and_one_without_a_row_is_left_out(job: Job) -> None:
    sections: dict[str, Any] = {"precision": {"quantization": "none"}, "schedule": {"max_steps": 2}}
    kept_aside = {"dataset": "rows", "max_length": 64, "eval_fraction": 0.2}
    assert job.run({**sections, "data": kept_aside}) == 0
    told = [event for event in job.events() if isinstance(event, EvaluationEvent)]
    assert [event.step for event in told] == [2] and told[0].loss
    lines = [event.line for event in job.events() if isinstance(event, LogEvent)]
    assert f"evaluation after step 2/2  loss {told[0].loss:.4f}" in lines
    late = {"messages": [{**TURNS[0], "content": "a " * 500}, TURNS[1]]}
    rows = [json.dumps({"messages": TURNS})] * 9 + [json.dumps(late)]
    (job.root / "datasets" / "rows.jsonl").write_text("\n".join(rows))
    for seed in range(100):  # until the one row that is cut short is the one kept aside
        if Dataset.from_list([{"row": row} for row in range(10)]).train_test_split(1, seed=seed)["test"]["row"] == [9]:
            break
    aside = {**sections, "data": {**kept_aside, "eval_fraction": 0.1}, "schedule": {"max_steps": 2, "seed": seed}}
    assert job.run(aside, attempt=2) == 0
    assert not [event for event in job.events(2) if isinstance(event, EvaluationEvent)]
    plan = next(event for event in job.events(2) if isinstance(event, PlanEvent))
    assert any("There is no evaluation" in note for note in plan.notes)


@pytest.mark.slow
def test_a_model_without_safetensors_fails_with_a_reason(job: Job, tmp_path: Path) -> None:
    job.model = tmp_path / "empty"
    job.model.mkdir()
    assert job.run({}) == 1
    failure = job.end().failure
    assert failure is not None and failure.reason == FailureReason.INVALID_MODEL and "safetensors" in failure.advice
