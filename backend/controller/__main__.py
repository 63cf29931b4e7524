"""``python -m backend.controller``: records what workers tell, places queued jobs, watches leases; until SIGTERM or Ctrl-C."""

import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import redis
from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from backend.chats.delivery import deliver
from backend.controller.dispatch import Dispatcher, assign_queued, make_celery
from backend.controller.leases import Leases
from backend.controller.recorder import Recorder
from backend.controller.traces import Traces
from backend.database import make_engine, make_sessions, move_log, transaction
from backend.gpus.reports import reports, unheard
from tunescope import wire
from tunescope.settings import ServerSettings

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
RETRY_SECONDS = 0.5
SETTLE_SECONDS = 30.0
GATHER_SECONDS = 0.01
GATHERED = 1000
"""After so many events at once more are waiting already."""
LOG_EVENTS = 4000
"""Recorded events after which SQLite's log is moved: before it is so long that a commit of the recorder would do so, and wait for the disk."""


class Controller:
    """Four loops side by side; each survives the loss of Redis and a busy database."""

    def __init__(self, settings: ServerSettings, client: "redis.Redis", sessions: sessionmaker[Session]) -> None:
        self._client = client
        self._sessions = sessions
        self._stop = threading.Event()
        self._bell = threading.Event()
        self._log_grew = threading.Event()
        self._recorder = Recorder(client, sessions, attempt_ended=self._bell.set)
        self._dispatcher = Dispatcher(settings, make_celery(settings))
        self._traces = Traces(client, sessions, settings)
        self._leases = Leases(client, self._recorder.settled)
        self._threads = [
            threading.Thread(target=self._loop, args=("recorder", self._record), name="recorder", daemon=True),
            threading.Thread(target=self._loop, args=("scheduler", self._schedule), name="scheduler", daemon=True),
            threading.Thread(target=self._loop, args=("database", self._move_log), name="database", daemon=True),
            threading.Thread(target=self._loop, args=("wake", self._listen), name="wake", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the loops after their present round."""
        self._stop.set()
        self._bell.set()
        for thread in self._threads:
            thread.join(10)
        with suppress(redis.RedisError):
            self._client.delete(wire.CONTROLLER)

    def _loop(self, name: str, work: Callable[[], None]) -> None:
        failing = False
        while not self._stop.is_set():
            try:
                work()
                if failing:
                    log.info("%s: goes on", name)
                failing = False
                continue
            except (redis.RedisError, OperationalError, SQLAlchemyError) as error:
                if not failing:
                    log.warning("%s: %s; trying again until it works", name, str(error).splitlines()[0])
                failing = True
                if not isinstance(error, SQLAlchemyError):
                    self._leases.forget()
            except Exception:
                log.exception("%s: a round failed; trying again", name)
            self._stop.wait(RETRY_SECONDS)

    def _record(self) -> None:
        settle_at = time.monotonic() + SETTLE_SECONDS
        unmoved = 0
        while not self._stop.is_set():
            recorded = self._recorder.step()
            unmoved += recorded
            if unmoved >= LOG_EVENTS:
                self._log_grew.set()
                unmoved = 0
            # A pause lets a few events gather, which one commit then records for the price of one.
            if recorded < GATHERED:
                self._stop.wait(GATHER_SECONDS)
            if time.monotonic() >= settle_at:
                self._recorder.settle_idle()
                settle_at = time.monotonic() + SETTLE_SECONDS

    def _move_log(self) -> None:
        if self._log_grew.wait(ROUND_SECONDS):
            self._log_grew.clear()
            with self._sessions() as session:
                move_log(session)

    def _schedule(self) -> None:
        machines = reports(self._client)
        with transaction(self._sessions) as session:
            assign_queued(session, machines, None if machines else unheard(self._client))
        with transaction(self._sessions) as session:
            self._dispatcher.send_assigned(session)
        with transaction(self._sessions) as session:
            self._leases.check(session, {machine.name: machine for machine in machines})
        with transaction(self._sessions) as session:
            deliver(session, self._client)
        self._traces.step(machines)
        self._client.set(wire.CONTROLLER, "1", ex=wire.CONTROLLER_SECONDS)
        self._bell.wait(ROUND_SECONDS)
        self._bell.clear()

    def _listen(self) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as channel:  # pyright: ignore[reportUnknownMemberType]
            channel.subscribe(wire.WAKE)  # pyright: ignore[reportUnknownMemberType]
            while not self._stop.is_set():
                if channel.get_message(timeout=1.0):
                    self._bell.set()


def _collect_seldom() -> None:
    """Look for cycles of garbage after many objects only: events come by the thousand, and have none among them.

    An eighth of the time that recording a step takes (``python -m benchmarks.telemetry``).
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def main() -> int:
    settings = ServerSettings()  # pyright: ignore[reportCallIssue]
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s controller: %(message)s")
    client = redis.Redis.from_url(settings.redis_url, socket_timeout=10, socket_connect_timeout=5)  # pyright: ignore[reportUnknownMemberType]
    engine = make_engine(settings.sqlalchemy_url())
    _collect_seldom()
    controller = Controller(settings, client, make_sessions(engine))
    asked = threading.Event()

    def ask(_number: int, _frame: object) -> None:
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    controller.start()
    asked.wait()
    controller.stop()
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
