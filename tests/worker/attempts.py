"""An attempt of the trainer's own program, in this process, on the tiny model."""

import json
import sys
from pathlib import Path

import pytest

from tests.worker.tiny import save_rows, save_tiny
from tunescope.spec import JobSpec
from worker.trainer.__main__ import Attempt


def kill_children_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every Python that this process starts end by SIGKILL, as the kernel does it when memory is full."""
    (tmp_path / "killed").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "killed").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "killed"))


def make_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: JobSpec, longer: int = 0) -> Attempt:
    """Writes model, rows and order as the worker would have them."""
    monkeypatch.setenv("TUNESCOPE_DATA_DIR", str(tmp_path))
    save_rows(tmp_path / "rows.jsonl", 24, longer)
    folder = tmp_path / "jobs" / "j" / "1"
    folder.mkdir(parents=True)
    order = {
        "job": "j", "attempt": 1, "fence": 1, "spec": spec.model_dump(mode="json"),
        "model": {"kind": "path", "location": str(save_tiny(tmp_path / "tiny"))},
        "dataset": {"name": "rows", "path": "rows.jsonl", "sha256": "", "rows": 24},
    }  # fmt: skip
    (folder / "order.json").write_text(json.dumps(order))
    return Attempt(folder / "order.json")
