"""What the command prints where no terminal is, or one that is narrow or takes few letters."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tunescope.cli import output
from tunescope.cli.output import ALIGNED_COLUMNS, plain_lines
from tunescope.units import format_duration


def test_a_long_cell_in_a_pipe_is_whole_and_moves_no_other_line() -> None:
    name = "x" * (ALIGNED_COLUMNS + 50)
    lines = plain_lines(
        [["id", "name", "state"], ["1", "short", "queued"], ["2", name, "failed"], ["3", "训练", "done"]]
    )
    assert lines == ["id  name   state", "1   short  queued", f"2   {name}  failed", "3   训练   done"]


def test_a_cell_of_several_lines_stays_one_row_without_blanks_at_its_end() -> None:
    assert plain_lines([["a", "b"], ["1\n2", ""]]) == ["a    b", "1 2"]


def test_durations_have_no_more_digits_than_one_reads() -> None:
    seconds = (4.24, 9.99, 57.7, 59.7, 200, 7500)
    assert [format_duration(each) for each in seconds] == [
        "4.2 s",
        "10.0 s",
        "58 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]


def run(command: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    words = command.replace("tunescope", f"{sys.executable} -m tunescope")
    return subprocess.run(["bash", "-c", words], env=os.environ | environment, capture_output=True, check=False)


def test_json_is_json_in_every_encoding_of_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("name: é 😀 中\nmodel: {id: smollm2-135m-instruct, source: library}\ndata: {dataset: d}")
    for encoding in ("ascii", "latin-1", "gbk", "utf-8"):
        ran = run(f"tunescope explain {file} - --json < {file}", PYTHONIOENCODING=encoding)
        assert ran.returncode == 0, ran.stderr
        answer = json.loads(ran.stdout.decode(encoding))
        assert (answer["a"]["name"], answer["b"]["name"]) == ("é 😀 中", "é 😀 中")


def test_closed_streams_are_no_traceback() -> None:
    assert run("tunescope recipes >&-").returncode == 0
    for command in ("tunescope estimate - <&-", "tunescope jobs show '' 2>&-"):
        ran = run(command)
        assert ran.returncode == 2 and b"Traceback" not in ran.stderr


def test_a_narrow_terminal_cuts_no_name_and_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    narrow = Console(width=30, force_terminal=True, file=shown, soft_wrap=True, no_color=True)
    monkeypatch.setattr(output, "console", narrow)
    output.print_table(["id", "name", "bytes"], [["0123456789", "a-name-without-any-blank", "1,207,959,552"]], "")
    assert "0123456789" in shown.getvalue() and "…" not in shown.getvalue()
