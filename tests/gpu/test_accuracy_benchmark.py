"""The benchmark of GPU accuracy, up to where it needs a GPU."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import gpu_accuracy
from benchmarks.gpu_accuracy import (
    MODELS,
    Cell,
    error_of,
    line_of,
    main,
    matrix,
    measured,
    over_idle,
    predicted,
    prepare,
    run,
    save,
)
from benchmarks.gpu_models import save_tokenizer
from tests.worker.simulated import SimulatedDriver, build_library, gpu
from tests.worker.tiny import save_tiny
from tunescope.events import Failure, StateEvent
from tunescope.memory.devices import DEFAULT_DEVICE
from tunescope.sentences import say
from tunescope.states import FailureReason, JobState
from tunescope.units import GIB, MIB
from worker.probes.nvml import lost_gpu
from worker.probes.nvml_memory import Memory
from worker.probes.reading import Unknown

CELL = Cell(MODELS[0], "lora", "none", 48, True, "sdpa")


def test_the_matrix_covers_every_setting_and_every_cell_can_be_predicted() -> None:
    cells = matrix(MODELS, quick=False)
    assert len(cells) == len(set(cells)) == len(MODELS) * 4 * 3 * 2 * 2
    for cell in cells:
        told = predicted(cell, DEFAULT_DEVICE)
        assert sum(told["ledger"].values()) == told["total_bytes"] > told["allocated_bytes"] > 0


def test_the_cells_that_differ_in_one_setting_come_before_those_that_differ_in_more() -> None:
    first, *others = [tuple(vars(cell).values()) for cell in matrix(MODELS, quick=False)]
    assert first == (MODELS[0], "lora", "none", 2048, True, "sdpa")

    def differences(cell: tuple[object, ...]) -> int:
        return sum((cell[0] != first[0], cell[1:3] != first[1:3], *(cell[n] != first[n] for n in (3, 4, 5))))

    counted = [differences(cell) for cell in others]
    assert counted == sorted(counted) and counted[:10] == [1] * 9 + [2]


@pytest.mark.slow
def test_a_cell_is_a_real_attempt_with_rows_of_the_length_asked_for(tmp_path: Path) -> None:
    weights = save_tiny(tmp_path / "tiny")
    save_tokenizer(weights)
    found = run(CELL, weights, None, 120)
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


def test_what_the_device_holds_more_than_idle_stands_for_a_process_that_the_driver_does_not_tell() -> None:
    figures = Unknown(say("not_told_by_gpu"))
    card = lost_gpu("GPU-0", 0, "NVIDIA H200", say("not_told_by_gpu"), figures)
    assert over_idle(900, card) is None and over_idle(None, card) is None and over_idle(900, None) is None
    assert over_idle(900, replace(card, memory=Memory(total=1000, used=70, free=930, reserved=60))) == 830


HERE = """
from benchmarks.gpu_accuracy import device_here
here = device_here()
print(here if isinstance(here, str) else (here[0].name, here[0].total_bytes, here[0].cublas_workspace_bytes, here[1].uuid))
"""


def test_the_card_is_predicted_for_as_the_driver_tells_it_and_not_as_another(tmp_path: Path) -> None:
    driver = SimulatedDriver(build_library(tmp_path / "nvml"), tmp_path / "scenario")
    driver.write(gpu(0, 24 * GIB, capability=80), gpu(1, 90 * GIB, name="NVIDIA of next year", capability=120))

    def here(**environment: str) -> str:
        env = os.environ | driver.environment | environment
        return subprocess.run([sys.executable, "-c", HERE], env=env, capture_output=True, text=True).stdout.strip()

    assert here(CUDA_VISIBLE_DEVICES="1") == str(("NVIDIA of next year", 90 * GIB, 32 * MIB, "GPU-1"))
    assert here(CUDA_VISIBLE_DEVICES="GPU-0,GPU-1").endswith("'GPU-0')")
    assert here(CUDA_VISIBLE_DEVICES="7") == "NVML lists no GPU that can be used"


def test_errors_are_relative_to_what_was_measured() -> None:
    assert error_of(110, 100) == 0.1
    assert error_of(110, None) is None


def test_a_run_that_is_out_of_time_keeps_its_cells_and_says_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not done within 0 s" in str(prepare(MODELS[0], tmp_path, None, 0)), "weights are made within the time too"
    assert main(["--on-cpu", "--minutes", "0.1"]) == 0
    assert "The time is over: 144 of 144 cells were not begun." in capsys.readouterr().out
    assert "not done within 0 s" in run(CELL, tmp_path, None, 0)["failure"]
    for rows in ([{"cell": 1}], [{"cell": 1}, {"cell": 2}]):
        assert json.loads(save({"rows": rows}, tmp_path / "results", DEFAULT_DEVICE).read_text()) == {"rows": rows}
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_weights_that_cannot_be_made_are_a_reason_and_leave_nothing(tmp_path: Path) -> None:
    assert "not in the catalogue" in str(prepare("no/model", tmp_path, None, 60))
    assert not (tmp_path / "no--model").exists()


def test_a_model_that_the_catalogue_lacks_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--models", "no/model"])
    assert "--models no/model" in capsys.readouterr().err


def test_a_python_without_the_trainers_packages_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_accuracy, "NEEDED", ("torch", "no_such_package"))
    assert main(["--on-cpu"]) == 0
    assert "lacks no_such_package." in capsys.readouterr().out


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu_accuracy.device_here", lambda: "there is no driver")
    assert main([]) == 0
    assert "Skipped: there is no driver" in capsys.readouterr().out
