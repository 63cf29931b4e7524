"""What ``tunescope jobs show`` says of a job, without a server."""

from typing import Any

from tunescope.cli.jobs import facts
from tunescope.units import GIB

JOB: dict[str, Any] = {
    "id": "j",
    "name": "run",
    "state": "running",
    "stage": "saving",
    "attempt": 1,
    "progress": {"step": 3, "total_steps": 9, "eta_seconds": None},
    "spec": {"model": {"id": "m"}, "data": {"dataset": "d"}},
    "owner": {"username": "ada"},
    "estimate": {"total_bytes": 3 * GIB},
    "latest": {"loss": 2.0, "evaluation_loss": 1.5},
    "peaks": {"torch.reserved": GIB, "nvml.process": 2 * GIB},
    "machine": None,
    "waiting_because": None,
    "failure": None,
}


def test_the_highest_memory_the_evaluation_and_the_stage_of_a_run() -> None:
    told = dict(facts(JOB))
    assert told["measured"] == "highest 1.0 GiB (torch.reserved), 2.0 GiB (nvml.process)"
    assert (told["loss"], told["evaluated"], told["state"]) == ("2.0000", "loss 1.5000", "running (saving)")


def test_a_job_that_has_ended_has_no_stage_any_more() -> None:
    assert dict(facts({**JOB, "state": "succeeded"}))["state"] == "succeeded"


def test_a_loss_that_is_no_number_is_told_apart_from_one_that_nobody_told() -> None:
    assert "diverged" in dict(facts({**JOB, "latest": {"loss": None}}))["loss"]
    assert "loss" not in dict(facts({**JOB, "latest": None}))
