"""A whole Tunescope, started by its own command on a free port, as a user would."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ADMIN_TOKEN = "an-admin-token-for-tests"


@dataclass(frozen=True)
class Running:
    """A running server: where it answers, who may ask, and where its output goes."""

    url: str
    data_dir: Path
    output: Path
    process: subprocess.Popen[bytes]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, timeout=30)

    def environment(self) -> dict[str, str]:
        """Environment for the CLI to reach this server as its admin."""
        return os.environ | {"TUNESCOPE_URL": self.url, "TUNESCOPE_TOKEN": ADMIN_TOKEN, "COLUMNS": "120"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def healthy(url: str) -> bool:
    """Whether the API answers and a worker is connected."""
    try:
        answer = httpx.get(f"{url}/api/health", timeout=2)
        return answer.status_code == 200 and bool(answer.json()["worker_connected"])
    except httpx.HTTPError:
        return False


@contextmanager
def running_server(data_dir: Path) -> Iterator[Running]:
    """Start ``tunescope up``, wait until it is healthy, and stop it with SIGTERM."""
    port = free_port()
    output = data_dir / "up.log"
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tunescope", "up", "--port", str(port), "--data-dir", str(data_dir)]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TUNESCOPE_ADMIN_TOKEN": ADMIN_TOKEN},
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: healthy(url) or process.poll() is not None, within=90, what="a healthy server")
            assert process.poll() is None, output.read_text()
            yield Running(url=url, data_dir=data_dir, output=output, process=process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
