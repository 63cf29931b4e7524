"""Jobs through the real controller and worker, to their ends."""

import os
import signal

from tests.support.waiting import until
from tests.worker.parts import Parts
from tunescope import wire
from tunescope.states import JobState
from tunescope.wire import Control


def started(parts: Parts) -> Parts:
    parts.start_controller()
    parts.start_worker()
    return parts


def test_job_runs_and_every_event_is_recorded_once(parts: Parts) -> None:
    job = started(parts).submit("quick 50")
    row = parts.wait_for(job, JobState.SUCCEEDED, within=30)
    assert row.step == 50 and row.machine == "m1" and row.fence == 1
    events = parts.events(job)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.data["state"] for event in parts.events(job, "state")] == ["starting", "running", "succeeded"]


def test_waiting_job_says_why(parts: Parts) -> None:
    parts.start_controller()
    job = parts.submit("quick")
    until(lambda: parts.row(job).waiting_because == "No worker is connected.", within=20, what="a reason")
    parts.start_worker()
    parts.wait_for(job, JobState.SUCCEEDED, within=30)
    assert parts.row(job).waiting_because is None


def test_killed_trainer_fails_with_a_reason_and_the_next_job_runs(parts: Parts) -> None:
    first, second = started(parts).submit("suicide"), parts.submit("quick")
    failure = parts.wait_for(first, JobState.FAILED, within=30).failure
    assert failure and failure["reason"] == "trainer_killed"
    assert "out-of-memory killer" in failure["detail"] and "last words" in failure["detail"]
    parts.wait_for(second, JobState.SUCCEEDED, within=10)


def test_kill_minus_nine_from_outside_is_told_within_ten_seconds(parts: Parts) -> None:
    job = started(parts).submit("slow 1000")
    parts.wait_for(job, JobState.RUNNING, within=30)
    os.kill(parts.trainer_pid(job), signal.SIGKILL)
    parts.wait_for(job, JobState.FAILED, within=10)


def test_running_job_is_cancelled(parts: Parts) -> None:
    job = started(parts).submit("slow 1000")
    parts.wait_for(job, JobState.RUNNING, within=30)
    parts.cancel(job)
    parts.wait_for(job, JobState.CANCELLED, within=10)


def test_trainer_deaf_to_cancel_is_killed_after_the_grace(parts: Parts) -> None:
    job = started(parts).submit("deaf 1000")
    parts.wait_for(job, JobState.RUNNING, within=30)
    parts.cancel(job)
    parts.wait_for(job, JobState.CANCELLED, within=10)
    assert any("did not leave" in event.data["line"] for event in parts.events(job, "log"))


def test_cancel_of_a_job_whose_worker_never_took_it(parts: Parts) -> None:
    started(parts)
    job = parts.submit("slow 1000")
    parts.wait_for(job, JobState.RUNNING, within=30)
    parts.kill("worker")
    parts.cancel(job)
    parts.wait_for(job, JobState.CANCELLED, within=40)


def test_sigterm_ends_worker_and_its_trainer_and_the_job_goes_on_later(parts: Parts) -> None:
    job = started(parts).submit("slow 100")
    parts.wait_for(job, JobState.RUNNING, within=30)
    parts.kill("worker", signal.SIGTERM)
    parts.start_worker()
    row = parts.wait_for(job, JobState.SUCCEEDED, within=60)
    assert row.attempt == 2 and row.resume_from_attempt == 1


def test_a_wish_of_the_page_reaches_the_running_trainer(parts: Parts) -> None:
    job = started(parts).submit("slow 1000")
    parts.wait_for(job, JobState.RUNNING, within=30)
    message = Control(job=job, attempt=1, action="measure")
    parts.client.publish(wire.control("m1"), message.model_dump_json())
    wish = parts.settings.attempt_dir(job, 1) / "requests" / "measure"
    until(wish.exists, within=10, what="the wish lies in the trainer's directory")
    assert parts.row(job).state == JobState.RUNNING
