"""The benchmark of GPU accuracy, up to where it needs a GPU."""

from pathlib import Path

import pytest

from benchmarks.gpu_accuracy import MODELS, Cell, error_of, line_of, main, matrix, measured, predicted, run
from benchmarks.gpu_models import save_tokenizer
from tests.worker.tiny import save_tiny
from tunescope.events import Failure, StateEvent
from tunescope.memory.devices import DEFAULT_DEVICE
from tunescope.states import FailureReason, JobState

CELL = Cell(MODELS[0], "lora", "none", 48, True, "sdpa")


def test_the_matrix_covers_every_setting_and_every_cell_can_be_predicted() -> None:
    cells = list(matrix(MODELS, quick=False))
    assert len(cells) == len(set(cells)) == len(MODELS) * 4 * 3 * 2 * 2
    for cell in cells:
        told = predicted(cell, DEFAULT_DEVICE)
        assert sum(told["ledger"].values()) == told["total_bytes"] > told["allocated_bytes"] > 0


@pytest.mark.slow
def test_a_cell_is_a_real_attempt_with_rows_of_the_length_asked_for(tmp_path: Path) -> None:
    weights = save_tiny(tmp_path / "tiny")
    save_tokenizer(weights)
    found = run(CELL, weights, None)
    assert "failure" not in found, found
    assert found["peak_bytes"]["host.rss"] > 0 and "torch.allocated" not in found["peak_bytes"], "no VRAM on a CPU"
    assert found["ledger"]["adapters"] > 0 and len(found["step_seconds"]) == 6
    assert "torch" in found["versions"]


def test_a_cell_that_fails_says_why() -> None:
    failure = Failure(reason=FailureReason.OUT_OF_MEMORY, detail="CUDA ran out of memory.")
    ended = StateEvent(job="cell", attempt=1, sequence=1, at=0, state=JobState.FAILED, failure=failure)
    row = {"predicted": predicted(CELL, DEFAULT_DEVICE), "measured": measured([ended], "")}
    assert "failed: CUDA ran out of memory." in line_of(CELL, row)
    assert measured([], "Traceback: it died") == {"failure": "Traceback: it died"}


def test_errors_are_relative_to_what_was_measured() -> None:
    assert error_of(110, 100) == 0.1
    assert error_of(110, None) is None


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu_accuracy.device_here", lambda: "there is no driver")
    assert main([]) == 0
    assert "Skipped: there is no driver" in capsys.readouterr().out
