"""A real API, controller and worker for the command line and the SDK; only the trainer is a stand-in, so jobs take no time."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.running import ADMIN_TOKEN, free_port, healthy
from tests.support.waiting import until
from tests.worker.parts import Parts
from tunescope.cli.main import main
from tunescope.client import Client

SPEC = """
name: {name}
model: {{id: smollm2-135m-instruct, source: library}}
data: {{dataset: vram-questions}}
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Tunescope = Callable[..., Ran]


class WholeServer(Parts):
    """The parts, and an API in front of them, started by their own commands."""

    def __init__(self, data_dir: Path, socket_dir: Path) -> None:
        super().__init__(data_dir, socket_dir)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment |= {"TUNESCOPE_ADMIN_TOKEN": ADMIN_TOKEN, "PYTHONPATH": os.getcwd()}

    def start_api(self) -> None:
        words = ["api", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        self._start("api", [sys.executable, "-m", "tunescope", *words])


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeServer]:
    sockets = Path(tempfile.mkdtemp(prefix="tsc-"))
    built = WholeServer(tmp_path_factory.mktemp("cli"), sockets)
    built.start_redis()
    try:
        built.start_api()
        built.start_controller()
        built.start_worker()
        until(lambda: healthy(built.url), within=60, what="a healthy server")
        yield built
    finally:
        built.stop_all()
        shutil.rmtree(sockets, ignore_errors=True)


@pytest.fixture
def client(server: WholeServer) -> Iterator[Client]:
    with Client(server.url, ADMIN_TOKEN) as client:
        yield client


@pytest.fixture
def tunescope(
    server: WholeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Tunescope:
    """Run the command in this process, against the server, in an empty directory."""
    monkeypatch.setenv("TUNESCOPE_URL", server.url)
    monkeypatch.setenv("TUNESCOPE_TOKEN", ADMIN_TOKEN)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ran:
        try:
            code = main(words)
        except SystemExit as left:  # argparse
            code = int(str(left.code or 0))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def spec_file(tmp_path: Path) -> Callable[[str], str]:
    def write(name: str) -> str:
        file = tmp_path / "spec.yaml"
        file.write_text(SPEC.format(name=name))
        return str(file)

    return write
