"""Every example of README.md is run as it stands there, against a real server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import WholeServer
from tests.support.running import ADMIN_TOKEN, ROOT

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


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
    assert {language for language, _ in BLOCKS} == {"console", "python"}
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("number", [index for index, (language, _) in enumerate(BLOCKS) if language == "console"])
def test_console_examples(number: int, folder: Path, server: WholeServer) -> None:
    text = BLOCKS[number][1].replace("http://127.0.0.1:8000", server.url).replace("tsc_…", ADMIN_TOKEN)
    text = re.sub(r"^\$ ", "", text, flags=re.MULTILINE)
    if text.startswith("make "):
        # What these do is tested elsewhere; here only that make knows them.
        text = re.sub(r"^make ", f"make -n -C {ROOT} ", text, flags=re.MULTILINE)
    said = run(["bash", "-euo", "pipefail", "-c", text], folder, server)
    assert said.strip()
    if "curl" in text:
        assert json.loads(said)["state"] == "queued", said


@pytest.mark.parametrize("number", [index for index, (language, _) in enumerate(BLOCKS) if language == "python"])
def test_python_examples(number: int, folder: Path, server: WholeServer) -> None:
    said = run([sys.executable, "-c", BLOCKS[number][1]], folder, server)
    assert len(said.splitlines()) == 3, said
