"""``tunescope estimate --trace`` where the worker's libraries are missing. With them: tests/worker/test_tracer_process.py."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.worker.standin_tracer import trace
from tunescope.cli import trace as cli_trace
from tunescope.cli.main import main
from tunescope.client import Client


@pytest.fixture
def spec_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cli_trace, "LIBRARIES", ("a_library_that_nobody_has",))
    for name in ("TUNESCOPE_URL", "TUNESCOPE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"model": {"id": "Qwen/Qwen2.5-7B-Instruct"}, "data": {"dataset": "d"}}))
    return str(file)


def answering(monkeypatch: pytest.MonkeyPatch, status: dict[str, Any]) -> None:
    monkeypatch.setenv("TUNESCOPE_URL", "http://server")
    monkeypatch.setattr(Client, "trace", lambda _self, _spec: status)


def test_without_libraries_and_server_it_says_what_to_do(spec_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", spec_file, "--trace"]) == 1
    told = capsys.readouterr()
    assert "a_library_that_nobody_has" in told.err and "TUNESCOPE_URL" in told.err and "Traceback" not in told.err
    assert told.out == ""


def test_a_server_traces_where_the_libraries_are_missing(
    spec_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", spec_file, "--json"]) == 0
    formula = json.loads(capsys.readouterr().out)
    answering(monkeypatch, {"state": "ready", "trace": trace(1), "reason": None})
    assert main(["estimate", spec_file, "--trace", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= set(formula) and answer["tier"] == "trace"
    assert answer["trace"]["replay"]["smallest_budget_bytes"] == 3500
    assert answer["total_bytes"] == sum(answer["ledger"].values())
    assert answer["formula"]["allocated_bytes"] == formula["allocated_bytes"]


def test_people_read_the_three_peaks_and_that_the_tiers_differ(
    spec_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, {"state": "ready", "trace": trace(1), "reason": None})
    assert main(["estimate", spec_file, "--trace"]) == 0
    out = capsys.readouterr().out
    for part in ("active peak", "3,000", "reserved peak", "4,000", "smallest budget", "3,500", "Trust the trace"):
        assert part in out


def test_a_server_that_cannot_trace_it_says_why(
    spec_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, {"state": "failed", "trace": None, "reason": "Not traceable: no such family"})
    assert main(["estimate", spec_file, "--trace"]) == 1
    assert "Not traceable: no such family" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "stderr", "told"),
    [
        (2, "unknown architecture 'qwen'\nthe estimate by formula still holds\n", "unknown architecture 'qwen'"),
        (1, "Traceback (most recent call last):\n  File\nTypeError: no such thing\n", "TypeError: no such thing"),
        (-9, "", "exit code -9"),
    ],
)
def test_what_the_tracer_said_last_becomes_the_reason(code: int, stderr: str, told: str) -> None:
    reason = cli_trace.last_words(subprocess.CompletedProcess([], code, "", stderr))
    assert told in reason and "Traceback" not in reason
