"""Rows with problems do not end a run: it tells how many of how many it leaves out."""

from pathlib import Path

from tests.worker.measured_run import spec_of
from tests.worker.test_templates import tokenizer
from worker.trainer.data import build_data


def test_rows_with_problems_are_counted_among_all(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "one"}\n{"text": "two"}\n{"text": 3}\nnothing\n')
    built = build_data(rows, spec_of().data, tokenizer(None), 42)
    assert len(built.train) == 2
    assert [note.text for note in built.notes if "problems" in note.text] == [
        "2 of 4 rows have problems and were left out."
    ]
