"""Jobs through the real controller and worker, to their ends."""

import os
import signal

from tests.support.waiting import until
from tests.worker.parts import Parts
from tunescope import wire
from tunescope.states import JobState
from tunescope.wire import Control


def test_job_runs_and_every_event_is_recorded_once(running: Parts) -> None:
    job = running.submit("quick 50")
    row = running.wait_for(job, JobState.SUCCEEDED, within=30)
    assert row.step == 50 and row.machine == "m1" and row.fence == 1
    events = running.events(job)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.data["state"] for event in running.events(job, "state")] == ["starting", "running", "succeeded"]


def test_waiting_job_says_why(parts: Parts) -> None:
    parts.start_controller()
    job = parts.submit("quick")
    until(lambda: parts.row(job).waiting_because == "No worker is connected.", within=20, what="a reason")
    parts.start_worker()
    parts.wait_for(job, JobState.SUCCEEDED, within=30)
    assert parts.row(job).waiting_because is None


def test_killed_trainer_fails_with_a_reason_and_the_next_job_runs(running: Parts) -> None:
    first, second = running.submit("suicide"), running.submit("quick")
    failure = running.wait_for(first, JobState.FAILED, within=30).failure
    assert failure and failure["reason"] == "trainer_killed"
    assert "out-of-memory killer" in failure["detail"] and "last words" in failure["detail"]
    running.wait_for(second, JobState.SUCCEEDED, within=10)


def test_kill_minus_nine_from_outside_is_told_within_ten_seconds(running: Parts) -> None:
    job = running.submit("slow 1000")
    running.wait_for(job, JobState.RUNNING, within=30)
    os.kill(running.trainer_pid(job), signal.SIGKILL)
    running.wait_for(job, JobState.FAILED, within=10)


def test_running_job_is_cancelled(running: Parts) -> None:
    job = running.submit("slow 1000")
    running.wait_for(job, JobState.RUNNING, within=30)
    running.cancel(job)
    running.wait_for(job, JobState.CANCELLED, within=10)


def test_trainer_deaf_to_cancel_is_killed_after_the_grace(running: Parts) -> None:
    job = running.submit("deaf 1000")
    running.wait_for(job, JobState.RUNNING, within=30)
    running.cancel(job)
    running.wait_for(job, JobState.CANCELLED, within=10)
    assert any("did not leave" in event.data["line"] for event in running.events(job, "log"))


def test_cancel_of_a_job_whose_worker_never_took_it(running: Parts) -> None:
    job = running.submit("slow 1000")
    running.wait_for(job, JobState.RUNNING, within=30)
    running.kill("worker")
    running.cancel(job)
    running.wait_for(job, JobState.CANCELLED, within=40)


def test_sigterm_ends_worker_and_its_trainer_and_the_job_goes_on_later(running: Parts) -> None:
    job = running.submit("slow 100")
    running.wait_for(job, JobState.RUNNING, within=30)
    running.kill("worker", signal.SIGTERM)
    running.start_worker()
    row = running.wait_for(job, JobState.SUCCEEDED, within=60)
    assert row.attempt == 2 and row.resume_from_attempt == 1


def test_a_wish_of_the_page_reaches_the_running_trainer(running: Parts) -> None:
    job = running.submit("slow 1000")
    running.wait_for(job, JobState.RUNNING, within=30)
    message = Control(job=job, attempt=1, action="measure")
    running.client.publish(wire.control("m1"), message.model_dump_json())
    wish = running.settings.attempt_dir(job, 1) / "requests" / "measure"
    until(wish.exists, within=10, what="the wish lies in the trainer's directory")
    assert running.row(job).state == JobState.RUNNING
    running.cancel(job)
    running.wait_for(job, JobState.CANCELLED, within=10)
