"""Data set files: every row is read or its problem named, whatever the file holds."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunescope.datasets.reading import check_dataset

ROWS = {
    "messages": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    "alpaca": {"instruction": "i", "input": "", "output": "o"},
    "prompt_completion": {"prompt": "p", "completion": "c"},
    "text": {"text": "t"},
}


@pytest.mark.parametrize("format", ROWS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_each_format_is_recognised(tmp_path: Path, format: str, suffix: str) -> None:
    file = tmp_path / f"data{suffix}"
    rows = [ROWS[format]] * 3
    file.write_text(json.dumps(rows) if suffix == ".json" else "\n".join(json.dumps(row) for row in rows))
    report = check_dataset(file)
    assert (str(report.format), report.rows, report.problem_count) == (format, 3, 0)


def test_csv_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    csv = tmp_path / "data.csv"
    csv.write_text("prompt,completion\np,c\n")
    parquet = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["p"], "completion": ["c"]}), parquet)
    assert [check_dataset(file).rows for file in (csv, parquet)] == [1, 1]


def test_a_bad_row_is_named_by_its_line_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    good = json.dumps(ROWS["messages"])
    file.write_text("\n".join([good, "{not json", good, '{"messages": []}', good]))
    report = check_dataset(file)
    assert report.rows == 3
    assert [problem.line for problem in report.problems] == [2, 4]
    assert all(problem.message for problem in report.problems)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".parquet"]))
def test_no_file_makes_a_traceback(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"data{suffix}"
    file.write_bytes(content)
    report = check_dataset(file)
    assert report.rows >= 0 and report.problem_count >= len(report.problems)


def test_the_built_in_data_set_is_clean_and_without_repeats() -> None:
    file = Path(__file__).resolve().parents[2] / "tunescope" / "datasets" / "vram-questions.jsonl"
    report = check_dataset(file)
    assert report.rows >= 200 and report.problem_count == 0
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == len(lines)
