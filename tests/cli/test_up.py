"""``tunescope up`` as a user has it: wrong starts in words, every process gone at the end, parts that come back."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.running import ROOT, free_port, healthy
from tests.support.waiting import until

pytestmark = pytest.mark.slow


def command(port: int, data_dir: Path) -> list[str]:
    return [sys.executable, "-m", "tunescope", "up", "--port", str(port), "--data-dir", str(data_dir)]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "REDIS_URL": "", "DATABASE_URL": ""} | more


@contextmanager
def started(port: int, data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.log").open("ab") as log:
        process = subprocess.Popen(
            command(port, data_dir), env=environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every process that was started for this data directory."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TUNESCOPE_DATA_DIR") == str(data_dir):
                found.append(process)
    return found


def part(data_dir: Path, words: str) -> psutil.Process:
    for process in processes_of(data_dir):
        with suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                return process
    raise AssertionError(f"no process {words}")


def refused(*words: str, **more: str) -> str:
    """What a wrong start says; it must end at once with code 2 and few words."""
    ran = subprocess.run(
        [sys.executable, "-m", "tunescope", *words],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
    assert "Traceback" not in ran.stderr and len(ran.stderr.splitlines()) <= 3
    return ran.stderr


def test_a_server_from_its_first_start_to_its_last_process(tmp_path: Path) -> None:
    port, data_dir = free_port(), tmp_path / "data"
    with started(port, data_dir) as process:
        until(lambda: healthy(f"http://127.0.0.1:{port}"), within=90, what="a healthy server")
        until(lambda: "/sign-in?token=tsc_" in (data_dir / "up.log").read_text(), within=30, what="the sign-in link")
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "eA==",
        }
        assert httpx.get(f"http://127.0.0.1:{port}/x", headers=upgrade).status_code == 200, "the page, no WebSocket"
        assert "Traceback" not in (data_dir / "logs" / "api.log").read_text()
        assert "cannot be used" in refused(*command(port, tmp_path / "other")[3:])
        assert f"process {process.pid}" in refused(*command(free_port(), data_dir)[3:])

        part(data_dir, "uvicorn").kill()
        part(data_dir, "backend.controller").kill()
        until(lambda: "The api ended" in (data_dir / "up.log").read_text(), within=10, what="word of the dead API")
        until(lambda: healthy(f"http://127.0.0.1:{port}"), within=60, what="the API to come back")
        until(lambda: part(data_dir, "backend.controller"), within=30, what="the controller to come back")

        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert processes_of(data_dir) == []
    begun = time.monotonic()
    with started(port, data_dir) as process:
        until(lambda: page_answers(port), within=60, what="the second start")
        print(f"second start: page after {time.monotonic() - begun:.1f} s")
        process.kill()
        process.wait()
        until(lambda: processes_of(data_dir) == [], within=60, what="the parts of a killed server to end")


def page_answers(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    data_dir = tmp_path / "data"
    begun = {
        signal.SIGINT: data_dir / "redis" / "redis.sock",
        signal.SIGTERM: data_dir / "migrate.lock",
        signal.SIGHUP: data_dir / "logs" / "worker.log",
    }[number]
    with started(free_port(), data_dir) as process:
        until(begun.exists, within=60, what=str(begun))
        process.send_signal(number)
        assert process.wait(60) == 0
        assert "Everything has stopped" in (data_dir / "up.log").read_text()
        assert processes_of(data_dir) == []


def test_wrong_starts_are_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    port = str(free_port())
    assert "cannot be used" in refused("up", "--port", port, "--data-dir", str(file))
    assert "cannot be used" in refused("up", "--port", port, "--data-dir", "/proc/nowhere")
    assert "not an address" in refused("up", "--port", port, "--host", "nowhere.invalid")
    assert "TUNESCOPE_SESSION_DAYS" in refused("up", "--port", port, TUNESCOPE_SESSION_DAYS="soon")
    assert "REDIS_URL" in refused("controller", REDIS_URL="localhost")
    for wrong in ("localhost", "mysql://x/y", "postgresql://x:port/y"):
        assert "DATABASE_URL" in refused("up", "--port", port, DATABASE_URL=wrong)


def test_a_database_that_cannot_be_used_is_told_without_its_password_and_a_traceback(tmp_path: Path) -> None:
    away = f"postgresql://me:secret@127.0.0.1:{free_port()}/tunescope"
    (tmp_path / "tunescope.sqlite").write_text("this is no database " * 100)
    other = tmp_path / "of-a-newer-release"
    other.mkdir()
    with sqlite3.connect(other / "tunescope.sqlite") as newer:
        newer.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        newer.execute("INSERT INTO alembic_version VALUES ('9999')")
    for data_dir, url, told in (
        (tmp_path / "new", away, "Connection refused"),
        (tmp_path, "", "not a database"),
        (other, "", "of another release"),
    ):
        for words in (["api", "--port", str(free_port())], ["up", "--port", str(free_port())]):
            ran = subprocess.run(
                [sys.executable, "-m", "tunescope", *words, "--data-dir", str(data_dir)],
                env=environment(DATABASE_URL=url),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert ran.returncode == 1 and told in ran.stderr, ran.stderr
            assert "Traceback" not in ran.stderr and "secret" not in ran.stderr
