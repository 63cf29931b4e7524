"""The real parts around a telemetry benchmark: private Redis, controller, API, jobs that wait for events."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from backend.database import make_engine, make_sessions
from backend.jobs.tables import JobRow
from backend.migrate import migrate
from backend.users.tables import UserRow
from tunescope import wire
from tunescope.cli.up import api_command, python, redis_part
from tunescope.events import MemoryFigure, PhaseMemory, StateEvent, StepEvent
from tunescope.settings import ServerSettings
from tunescope.states import JobState

ADMIN_TOKEN = "benchmark"
TICKS = os.sysconf("SC_CLK_TCK")
SOURCES = ("torch.allocated", "torch.reserved", "nvml.device", "host.rss")
SPEC = {"name": "steps", "model": {"id": "m", "source": "library"}, "data": {"dataset": "d"}}
PHASES = ("data", "forward", "loss", "backward", "optimizer")


@dataclass
class Stage:
    settings: ServerSettings
    client: "redis.Redis"
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        self.sessions = make_sessions(make_engine(self.settings.sqlalchemy_url()))

    def start(self, name: str, command: list[str]) -> None:
        environment = os.environ | {
            "TUNESCOPE_DATA_DIR": str(self.settings.data_dir),
            "TUNESCOPE_ADMIN_TOKEN": ADMIN_TOKEN,
            "REDIS_URL": self.settings.redis_url,
            "DATABASE_URL": self.settings.database_url,
        }
        log = (self.settings.data_dir / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def start_api(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        self.start("api", api_command("127.0.0.1", port))
        wait(lambda: answers(f"{self.url}/api/health"), 60, "the API")

    def start_controller(self) -> None:
        self.start("controller", python("backend.controller"))

    def cpu_seconds(self, name: str) -> float:
        """Processor time of a part so far: what a busy machine cannot blur."""
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def make_jobs(self, count: int, prefix: str) -> list[str]:
        """Jobs that a worker holds, by their leases, so that the controller leaves them alone."""
        jobs = [f"{prefix}{number}" for number in range(count)]
        with self.sessions.begin() as session:
            for job in jobs:
                row = JobRow(
                    id=job, name=job, state=JobState.STARTING.value, attempt=1, fence=1, owner_id="u", spec=SPEC
                )
                row.gpus, row.step, row.created_at, row.machine = [], 0, time.time(), "m"
                session.add(row)
        for job in jobs:
            self.client.set(wire.lease(job), json.dumps({"fence": 1, "attempt": 1, "machine": "m"}))
        return jobs

    def stop(self) -> None:
        for name in reversed(self.processes):
            self.processes[name].terminate()
            self.processes[name].wait(30)


@contextmanager
def stage(data_dir: Path, database_url: str = "") -> Iterator[Stage]:
    part, url = redis_part(data_dir)
    settings = ServerSettings(data_dir=data_dir, redis_url=url, database_url=database_url)
    migrate(settings)
    mine = Stage(settings, redis.Redis.from_url(url))
    with mine.sessions.begin() as session:
        session.add(UserRow(id="u", username="bench", role="admin", created_at=0.0))
    try:
        mine.start("redis", part.command)
        wait(lambda: pings(mine.client), 20, "Redis")
        yield mine
    finally:
        mine.stop()


def wait(ready: "object", seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            sys.exit(f"{what} was not ready within {seconds:g} s")
        time.sleep(0.05)


def pings(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def state(job: str, sequence: int, to: JobState) -> StateEvent:
    return StateEvent(job=job, attempt=1, sequence=sequence, at=time.time(), state=to)


def step_fields(step: int, lean: bool = False) -> dict[str, object]:
    """A step as a GPU job tells it: 4 memory sources, 5 phases; ``lean`` has the four scalars only."""
    fields: dict[str, object] = {
        "step": step,
        "total_steps": 1_000_000,
        "epoch": step / 1_000_000,
        "loss": 2.0 + 1 / step,
        "learning_rate": 1e-4,
        "grad_norm": 1.0 + (step % 97) / 97,
        "tokens": 4096,
        "tokens_per_second": 409_600.0 + step % 1013,
        "step_seconds": 0.01,
    }
    if not lean:
        fields["memory"] = [
            MemoryFigure(source=source, bytes=12_345_678_901 + step, peak_bytes=22_345_678_901 + step)
            for source in SOURCES
        ]
        fields["phases"] = [
            PhaseMemory(
                phase=phase,
                seconds=0.002,
                source=SOURCES[0],
                peak_bytes=20_000_000_000 + step,
                mean_bytes=10_000_000_000,
            )
            for phase in PHASES
        ]
    return fields


def step_event(job: str, sequence: int, step: int, lean: bool = False) -> StepEvent:
    return StepEvent(job=job, attempt=1, sequence=sequence, at=time.time(), **step_fields(step, lean))  # type: ignore[arg-type]
