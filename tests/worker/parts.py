"""A controller and a worker as real processes around a real Redis and SQLite; only the trainer is a stand-in."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.database import make_engine, make_sessions
from backend.datasets.service import register_builtin
from backend.jobs.service import create, earlier_attempts
from backend.jobs.tables import AttemptRow, JobRow
from backend.jobs.transitions import move
from backend.migrate import migrate
from backend.telemetry.tables import EventRow
from backend.users.tables import UserRow
from tests.api.servers import redis_binary
from tests.support.waiting import until
from tunescope.settings import ServerSettings
from tunescope.spec import parse_spec
from tunescope.states import TERMINAL, JobState

ROOT = Path(__file__).resolve().parents[2]
STANDIN = [sys.executable, "-m", "tests.worker.standin"]
TRACER = [sys.executable, "-m", "tests.worker.standin_tracer"]
WORKER = f"import sys; from worker.__main__ import main; sys.exit(main({STANDIN!r}, {TRACER!r}))"


class Parts:
    """Starts, kills and asks the parts."""

    def __init__(self, data_dir: Path, socket_dir: Path) -> None:
        self.data_dir = data_dir
        self._socket_dir = socket_dir
        self.redis_url = f"unix://{socket_dir / 'r.sock'}"
        self.environment = os.environ | {
            "TUNESCOPE_DATA_DIR": str(data_dir),
            "REDIS_URL": self.redis_url,
            "TUNESCOPE_MACHINE": "m1",
            "TUNESCOPE_GRACE_SECONDS": "1",
            "DATABASE_URL": "",
        }
        self.settings = ServerSettings(data_dir=data_dir, redis_url=self.redis_url, database_url="")
        self.client = redis.Redis.from_url(self.redis_url)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        migrate(self.settings)
        self.sessions = make_sessions(make_engine(self.settings.sqlalchemy_url()))
        with self.sessions.begin() as session:
            register_builtin(session, self.settings)
            session.add(UserRow(id="u1", username="ann", role="admin", created_at=0.0))

    def start_redis(self) -> None:
        self._start(
            "redis",
            [
                redis_binary(),
                "--port",
                "0",
                "--unixsocket",
                str(self._socket_dir / "r.sock"),
                "--dir",
                str(self.data_dir),
                "--appendonly",
                "yes",
                "--save",
                "",
            ],
        )

        def answers() -> bool:
            with suppress(redis.RedisError):
                return bool(self.client.ping())
            return False

        until(answers, within=10, what="Redis answers")

    def start_controller(self) -> None:
        self._start("controller", [sys.executable, "-m", "backend.controller"])

    def start_worker(self) -> None:
        self._start("worker", [sys.executable, "-c", WORKER])

    def start_what_is_missing(self) -> None:
        starts = {"redis": self.start_redis, "controller": self.start_controller, "worker": self.start_worker}
        for name, start in starts.items():
            if name not in self.processes:
                start()

    def _start(self, name: str, command: list[str]) -> None:
        with (self.data_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(20)

    def stop_all(self) -> None:
        for name in ("worker", "controller", "api", "redis"):
            if name in self.processes:
                with suppress(subprocess.TimeoutExpired):
                    self.kill(name, signal.SIGTERM)

    def submit(self, name: str, **sections: Any) -> str:
        spec = parse_spec(
            {
                "name": name,
                "model": {"id": "smollm2-135m-instruct", "source": "library"},
                "data": {"dataset": "vram-questions"},
                **sections,
            }
        )
        with self.sessions.begin() as session:
            owner = session.get(UserRow, "u1")
            assert owner
            return create(session, self.settings, owner, spec).id

    def cancel(self, job: str) -> None:
        with self.sessions.begin() as session:
            assert move(
                session, job, JobState.CANCELLED if self.read(session, job).state == "queued" else JobState.CANCELLING
            )

    def read(self, session: Session, job: str) -> JobRow:
        row = session.get(JobRow, job, populate_existing=True)
        assert row
        return row

    def row(self, job: str) -> JobRow:
        with self.sessions() as session:
            return self.read(session, job)

    def wait_for(self, job: str, *states: JobState, within: float = 20) -> JobRow:
        def reached() -> JobRow | None:
            row = self.row(job)
            assert row.state in states or row.state not in TERMINAL, (row.state, row.failure)
            return row if row.state in states else None

        return until(reached, within=within, what=f"job {job} becomes {states}")

    def events(self, job: str, kind: str | None = None) -> list[EventRow]:
        statement = select(EventRow).where(EventRow.job == job).order_by(EventRow.attempt, EventRow.sequence)
        with self.sessions() as session:
            return [row for row in session.scalars(statement) if kind in (None, row.kind)]

    def earlier_attempts(self, job: str) -> Sequence[AttemptRow]:
        with self.sessions() as session:
            return earlier_attempts(session, job)

    def trainer_pid(self, job: str) -> int:
        """Process id of a job's stand-in."""

        def found() -> int | None:
            for entry in Path("/proc").iterdir():
                with suppress(OSError):
                    if entry.name.isdigit() and f"/jobs/{job}/".encode() in (entry / "cmdline").read_bytes():
                        return int(entry.name)
            return None

        return until(found, within=10, what="a trainer runs")
