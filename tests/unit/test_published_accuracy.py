"""The errors against published measurements that docs/estimates.md states hold: they may become smaller, never larger."""

import re
from pathlib import Path

import pytest

from benchmarks import peft_accuracy
from benchmarks.vram_accuracy import Row, main, ours, read_tables, spread
from tests.support.running import ROOT

ROWS, LEFT_OUT = read_tables()
GROUPS = {
    "fixed length": lambda row: row.fixed_length,
    "varying length": lambda row: not row.fixed_length,
    "Qwen README": lambda row: row.source == "QwenLM/Qwen",
    "ms-swift": lambda row: row.source == "ms-swift",
    "fms-acceleration": lambda row: row.source == "fms-acceleration",
}


def stated() -> dict[str, tuple[int, float, float]]:
    """The table of docs/estimates.md: rows, median and 90th percentile of our error by group."""
    text = (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ([\w -]+) \| (\d+) \| ([\d.]+), ([\d.]+) \|", text, re.MULTILINE)
    return {name: (int(count), float(middle), float(ninth)) for name, count, middle, ninth in found}


def test_every_published_row_is_estimated_or_named_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(ROWS) == 94 and {item.because.split()[0] for item in LEFT_OUT} == {"fused"}
    assert main([]) == 0
    told = capsys.readouterr().out
    assert f"left out: {len(LEFT_OUT)} of {len(ROWS) + len(LEFT_OUT)} runs" in told
    assert all(item.name in told and item.because in told for item in LEFT_OUT)


@pytest.mark.parametrize("group", GROUPS)
def test_errors_are_not_larger_than_the_documentation_states(group: str) -> None:
    rows: list[Row] = [row for row in ROWS if GROUPS[group](row)]
    count, middle, ninth = stated()[group]
    found = spread(rows, ours)
    assert len(rows) == count
    assert round(found[0], 1) <= middle and round(found[1], 1) <= ninth, found


def test_rows_that_cannot_be_estimated_are_named_and_the_others_still_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = (ROOT / "tunescope" / "recipes" / "published.csv").read_text(encoding="utf-8").splitlines()
    unknown = own[1].replace(own[1].split(",")[0], "a-run-of-nobody").replace("Qwen/Qwen-1_8B", "nobody/nothing")
    (tmp_path / "published.csv").write_text("\n".join([own[0], own[1], unknown]))
    assert main([str(tmp_path)]) == 2, "one of the two files is missing"
    (tmp_path / "fms_a100_80gb_1gpu.csv").write_text("framework_config,model_name_or_path\nnone,x\n")
    assert main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "left out: 2 of 3 runs" in told and "a-run-of-nobody" in told and "nobody/nothing" in told


PEFT_GROUPS = {"LoRA of rank 64": "rank64", "LoRA on the MLP": "target-mlp", "DoRA": "dora", "full": "full"}
PEFT_RUNS = peft_accuracy.published_runs()
PEFT_LENGTHS = peft_accuracy.Lengths.of(PEFT_RUNS[0])


def test_the_lengths_that_the_first_run_of_peft_tells_can_be() -> None:
    assert peft_accuracy.UNPADDED_TOKENS < PEFT_LENGTHS.tokens < 1.1 * peft_accuracy.UNPADDED_TOKENS
    assert PEFT_LENGTHS.tokens / peft_accuracy.BATCH < PEFT_LENGTHS.longest < peft_accuracy.CAP


@pytest.mark.parametrize("group", PEFT_GROUPS)
def test_errors_on_runs_of_peft_are_not_larger_than_the_documentation_states(group: str) -> None:
    text = (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8")
    told = re.search(rf"^\| {group}(?: \((\d)\))? \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", text, re.MULTILINE)
    assert told, group
    runs = [run for run in PEFT_RUNS if PEFT_GROUPS[group] in run.name]
    assert len(runs) == int(told[1] or 1)
    for run in runs:
        found = peft_accuracy.Errors.of(run, PEFT_LENGTHS)
        assert abs(found.after_step) <= float(told[2])
        assert (found.reserved_mean is None) is (run.emptied_every > 1)
        assert round(abs(found.reserved_mean or 0), 1) <= float(told[3])
        assert round(abs(found.reserved_99th or 0), 1) <= float(told[4])


def test_peft_runs_are_shown_with_their_errors(capsys: pytest.CaptureFixture[str]) -> None:
    peft_accuracy.main()
    told = capsys.readouterr().out
    assert all(run.name in told for run in PEFT_RUNS)
