"""Every example of the README and of docs/api.md is run as it stands there, against a real server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import WholeServer
from tests.support.running import ADMIN_TOKEN, ROOT

pytestmark = pytest.mark.slow

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES: list[tuple[str, str]] = [
    block
    for name in ("README.md", "docs/api.md")
    for block in FENCED.findall((ROOT / name).read_text(encoding="utf-8"))
]
CONSOLE = [text for language, text in EXAMPLES if language == "console"]
PYTHON = [text for language, text in EXAMPLES if language == "python"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory as the examples expect it, with the ``tunescope`` command on its own PATH."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "my-data.jsonl").write_text('{"text": "mine"}\n')
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "tunescope").write_text(f'#!/bin/sh\nexec {sys.executable} -m tunescope "$@"\n')
    (bin / "tunescope").chmod(0o755)
    return tmp_path


def run(command: list[str], folder: Path, server: WholeServer) -> str:
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TUNESCOPE_URL": server.url,
        "TUNESCOPE_TOKEN": ADMIN_TOKEN,
    }
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_no_example_is_left_out() -> None:
    assert len(CONSOLE) + len(PYTHON) == len(EXAMPLES) and len(CONSOLE) >= 6 and PYTHON


@pytest.mark.parametrize("text", CONSOLE, ids=lambda text: text.split("\n")[0][:40])
def test_console_examples(text: str, folder: Path, server: WholeServer) -> None:
    text = text.replace("http://127.0.0.1:8000", server.url).replace("tsc_…", ADMIN_TOKEN)
    text = re.sub(r"^\$ ", "", text, flags=re.MULTILINE)
    if text.startswith("make "):
        # What these do is tested elsewhere; here only that make knows them.
        text = re.sub(r"^make ", f"make -n -C {ROOT} ", text, flags=re.MULTILINE)
    said = run(["bash", "-euo", "pipefail", "-c", text], folder, server)
    assert said.strip() and "urn:tunescope" not in said, said


@pytest.mark.parametrize("text", PYTHON)
def test_python_examples(text: str, folder: Path, server: WholeServer) -> None:
    said = run([sys.executable, "-c", text], folder, server)
    assert len(said.splitlines()) == 3, said
