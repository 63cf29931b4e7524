"""placement.probe: the longest batch first, in a process of its own, then the run proper from fresh weights."""

from pathlib import Path

import pytest

from tests.worker.attempts import kill_children_at_start, make_attempt
from tests.worker.measured_run import spec_of
from tunescope.events import LedgerEvent, PlanEvent, StageEvent, StateEvent, StepEvent
from tunescope.states import FailureReason
from worker.attempt import FAILED, SUCCEEDED
from worker.outbox import read_events
from worker.stop import StopSwitch
from worker.trainer import probe
from worker.trainer.__main__ import run

PROBED = {"placement": {"probe": True}, "schedule": {"max_steps": 2, "save_steps": 1000}}


@pytest.mark.slow
def test_the_longest_batch_is_measured_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = make_attempt(
        tmp_path, monkeypatch, spec_of(data={"dataset": "rows", "max_length": 200}, **PROBED), longer=90
    )
    assert run(mine) == SUCCEEDED
    events = list(read_events(mine.folder))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    probes = [event for event in events if isinstance(event, LedgerEvent) and event.probe]
    own = [event for event in events if isinstance(event, LedgerEvent) and not event.probe]
    assert [event.step for event in probes] == [1, 2, 3] and [event.step for event in own] == [1, 2]
    plan = next(event for event in events if isinstance(event, PlanEvent))
    assert probes[-1].sequence < plan.sequence and plan.total_steps == 2
    assert "probing the longest batch" in [event.stage for event in events if isinstance(event, StageEvent)]
    longest = max(event.longest_tokens or 0 for event in events if isinstance(event, StepEvent))
    highest = max(event.total_bytes for event in probes)
    assert highest >= max(event.total_bytes for event in own) and longest > 100, "no batch of the run needs more"
    first = next(event for event in events if isinstance(event, StepEvent))
    assert first.loss is not None and first.step == 1, "the probe's steps are not the run's"


@pytest.mark.slow
def test_a_probe_that_fails_ends_the_job_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = make_attempt(tmp_path, monkeypatch, spec_of(**PROBED, adaptation={"target_modules": ["no_such_layer"]}))
    assert run(mine) == FAILED
    failure = [event for event in read_events(mine.folder) if isinstance(event, StateEvent)][-1].failure
    assert (
        failure and failure.reason is FailureReason.INVALID_SETTINGS and failure.detail.startswith("In the probe run:")
    )


def test_a_killed_probe_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_children_at_start(tmp_path, monkeypatch)
    failure = probe.probe_beside(tmp_path, StopSwitch())
    assert failure and failure.reason in (FailureReason.TRAINER_KILLED, FailureReason.OUT_OF_MEMORY)
    assert "while probing the longest batch" in failure.detail
    stop = StopSwitch()
    stop.pressed = True
    assert probe.probe_beside(tmp_path, stop) is None, "a cancelled probe is no failure"


def test_the_probe_is_short_and_meets_accumulated_gradients() -> None:
    spec = probe.shortened(spec_of(batch={"per_device_train_batch_size": 4, "gradient_accumulation_steps": 16}))
    assert spec.batch.gradient_accumulation_steps == 2 and spec.batch.per_device_train_batch_size == 4
    assert spec.schedule.max_steps == probe.STEPS and spec.data.eval_fraction == 0


def test_micro_batches_are_the_longest_with_and_without_padding() -> None:
    from datasets import Dataset

    def lengths(batch: int, accumulation: int) -> list[int]:
        rows = Dataset.from_dict({"input_ids": [[0] * count for count in (3, 9, 1, 7, 2)]})
        return [len(tokens) for tokens in probe.longest_rows(rows, batch, accumulation)["input_ids"]]

    assert lengths(batch=2, accumulation=1) == [9, 7, 9, 1, 9, 7]
    assert lengths(batch=1, accumulation=2) == [9] * 6
    assert lengths(batch=2, accumulation=2) == [9, 7, 9, 1, 9, 1, 9, 7, 9, 7, 9, 1]
    assert len(lengths(batch=7, accumulation=1)) == 21
