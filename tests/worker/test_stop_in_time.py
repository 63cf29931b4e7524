"""placement.stop_before_oom: a checkpoint and an honest end before memory runs out."""

from pathlib import Path

import pytest

from tests.worker.attempts import make_attempt
from tests.worker.measured_run import spec_of
from tunescope.events import CheckpointEvent, StateEvent, StepEvent, WarningEvent
from tunescope.states import FailureReason
from tunescope.units import GIB
from worker.attempt import FAILED, SUCCEEDED
from worker.outbox import read_events
from worker.trainer import lookout
from worker.trainer.__main__ import run
from worker.trainer.meter.meter import StepFigures
from worker.trainer.watch import StepFacts


def other_process_grows(step: int, _figures: StepFigures) -> StepFacts:
    """Another process takes the card, 20 GiB a step."""
    others = 20 * GIB * step
    return StepFacts(step=step, others=others, device_used=20 * GIB + others, device_total=80 * GIB)


@pytest.mark.slow
@pytest.mark.parametrize("stop_before_oom", [True, False])
def test_a_warning_always_and_an_early_stop_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_before_oom: bool
) -> None:
    monkeypatch.setattr(lookout, "facts_of", other_process_grows)
    spec = spec_of(schedule={"max_steps": 5, "save_steps": 1000}, placement={"stop_before_oom": stop_before_oom})
    mine = make_attempt(tmp_path, monkeypatch, spec)
    assert run(mine) == (FAILED if stop_before_oom else SUCCEEDED)
    events = list(read_events(mine.folder))
    warning = [event for event in events if isinstance(event, WarningEvent) and event.code == "other_process"][-1]
    assert warning.code == "other_process" and "another process" in warning.message.lower()
    steps = [event.step for event in events if isinstance(event, StepEvent)]
    if not stop_before_oom:
        assert steps == [1, 2, 3, 4, 5]
        return
    assert steps[-1] == warning.step < 5
    assert [event.step for event in events if isinstance(event, CheckpointEvent)] == [warning.step]
    failure = [event for event in events if isinstance(event, StateEvent)][-1].failure
    assert failure and failure.reason is FailureReason.OUT_OF_MEMORY and failure.memory
    assert warning.message in failure.detail and failure.memory.step == warning.step
    assert failure.memory.categories["weights"] > 0
