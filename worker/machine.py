"""This machine as a worker: the attempts that run here, and the threads that serve all of them.

- relay: delivers outboxes to Redis
- leases: renews the leases of running attempts
- report: tells what the machine has and how full it is
- control: hears cancels, messages of chats, and what the page asks of a running trainer
- traces: has specs traced by a helper process (tracedesk.py)
"""

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import redis

from tunescope import wire
from tunescope.events import Failure, StateEvent
from tunescope.sentences import say
from tunescope.settings import WorkerSettings
from tunescope.states import FailureReason, JobState
from tunescope.wire import AttemptOrder, ChatOrder, Control, MachineReport, MergeOrder
from worker import requests
from worker.chat.inbox import Inbox
from worker.claim import Claim, Hold
from worker.inventory import Inventory
from worker.outbox import Outbox
from worker.relay import RelayThread, recent_attempts
from worker.supervisor import CHAT, MERGE, TRAINER, Ask, Supervisor
from worker.tracechild import TRACER
from worker.tracedesk import TraceDesk

log = logging.getLogger(__name__)

REPORT_SECONDS = 2.0
RENEW_SECONDS = 3.0
RETRY_SECONDS = 1.0
REMEMBERED_CANCELS = 1000

Key = tuple[str, int]


class Running:
    """An attempt that holds its lease here."""

    def __init__(self, order: AttemptOrder, claim: Claim) -> None:
        self.order = order
        self.claim = claim
        self.supervisor: Supervisor | None = None


class Machine:
    """Everything a worker process does besides receiving orders."""

    def __init__(
        self,
        settings: WorkerSettings,
        client: "redis.Redis",
        command: Sequence[str] = TRAINER,
        tracer: Sequence[str] = TRACER,
    ) -> None:
        self.settings = settings
        self._client = client
        self._command = command
        self._running: dict[Key, Running] = {}
        self._cancels: OrderedDict[Key, None] = OrderedDict()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._relay = RelayThread(client)
        self._inventory = Inventory(settings.machine)
        self._traces = TraceDesk(settings, client, tracer)
        self._threads = [
            threading.Thread(target=self._report_loop, name="report", daemon=True),
            threading.Thread(target=self._lease_loop, name="leases", daemon=True),
            threading.Thread(target=self._control_loop, name="control", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads; what an earlier worker left undelivered on disk goes out first."""
        for attempt_dir, job, attempt in recent_attempts(self.settings.data_dir / "jobs"):
            self._relay.add(attempt_dir, job=job, attempt=attempt, finished=True)
        self._relay.start()
        for thread in self._threads:
            thread.start()
        self._traces.start()

    def leave(self) -> None:
        """Ask every attempt to end so that it can go on later. Safe in a signal handler: takes no lock, does not wait."""
        self._stop.set()
        for running in list(self._running.values()):
            if running.supervisor:
                running.supervisor.ask(Ask.LEAVE)

    def close(self) -> None:
        """After ``leave()`` and the end of all attempts: deliver what is left and take this machine off the list."""
        self._stop.set()
        for thread in self._threads:
            thread.join(REPORT_SECONDS + 1)
        self._traces.stop()
        self._relay.stop()
        self._inventory.close()
        try:
            self._client.delete(wire.machine(self.settings.machine))
            self._client.publish(wire.WAKE, "worker stopped")
        except redis.RedisError:
            log.info("Redis does not answer; this machine's report will lapse by itself")

    def run(self, order: AttemptOrder) -> JobState | None:
        """Run an order to its end. None: it was not ours to run, or it is to go on elsewhere."""
        claim = Claim(
            self._client, job=order.job, attempt=order.attempt, fence=order.fence, machine=self.settings.machine
        )
        if not self._acquire(order, claim):
            return None
        key = (order.job, order.attempt)
        running = Running(order, claim)
        with self._lock:
            self._running[key] = running
        attempt_dir = self.settings.attempt_dir(order.job, order.attempt)
        try:
            outbox = Outbox(attempt_dir, job=order.job, attempt=order.attempt, bell=None)
            self._relay.add(attempt_dir, job=order.job, attempt=order.attempt)
            try:
                return self._run_claimed(running, outbox)
            except OSError as error:
                log.exception("job %s attempt %d could not be run", *key)
                failure = Failure.of(
                    FailureReason.DISK_FULL if error.errno in (28, 122) else FailureReason.TRAINER_CRASHED,
                    say("trainer_not_run", said=str(error)),
                    say("see_worker_log"),
                )
                outbox.emit(StateEvent, state=JobState.FAILED, failure=failure)
                return JobState.FAILED
            finally:
                outbox.close()
                self._relay.finish(*key)
        finally:
            with self._lock:
                del self._running[key]
                self._cancels.pop(key, None)
            try:
                claim.release()
            except redis.RedisError:
                log.info("job %s: Redis does not answer; its lease will lapse by itself", order.job)

    def report(self) -> MachineReport:
        with self._lock:
            running = {key[0]: item.supervisor.pid if item.supervisor else None for key, item in self._running.items()}
        report = self._inventory.report(running)
        report.traces, report.tracing = self._traces.open, self._traces.under_way
        return report

    def hear(self, message: Control) -> None:
        """Act on a control message; a cancel that comes before its order is remembered."""
        key = (message.job, message.attempt)
        if message.action != "cancel":
            with self._lock:
                here = key in self._running
            if not here:
                return
            if message.action == "chat":
                self._pass_on(message)
            else:
                requests.ask(self.settings.attempt_dir(*key), message.action)
            return
        with self._lock:
            self._cancels[key] = None
            while len(self._cancels) > REMEMBERED_CANCELS:
                self._cancels.popitem(last=False)
            running = self._running.get(key)
            if running and running.supervisor:
                running.supervisor.ask(Ask.CANCEL)

    def _pass_on(self, message: Control) -> None:
        inbox = Inbox(self.settings.attempt_dir(message.job, message.attempt))
        for each in message.messages:
            inbox.put(each)
        for number in message.stopped:
            inbox.stop(number)

    def _acquire(self, order: AttemptOrder, claim: Claim) -> bool:
        while not self._stop.is_set():
            try:
                if claim.acquire():
                    return True
                log.info("job %s: order with fence %d came before or is out of date; dropped", order.job, order.fence)
                return False
            except redis.RedisError:
                self._stop.wait(RETRY_SECONDS)
        return False

    def _run_claimed(self, running: Running, outbox: Outbox) -> JobState | None:
        order = running.order
        outbox.emit(StateEvent, state=JobState.STARTING)
        self._relay.ring()
        supervisor = Supervisor(
            order,
            self.settings.attempt_dir(order.job, order.attempt),
            outbox,
            ring=self._relay.ring,
            grace_seconds=self.settings.grace_seconds,
            command=self._program(order),
            environment={"TUNESCOPE_DATA_DIR": str(self.settings.data_dir.resolve())},
        )
        with self._lock:
            running.supervisor = supervisor
            cancelled = (order.job, order.attempt) in self._cancels
        if cancelled:
            outbox.emit(StateEvent, state=JobState.CANCELLED)
            return JobState.CANCELLED
        if self._stop.is_set():
            supervisor.ask(Ask.LEAVE)
        return supervisor.run()

    def _program(self, order: AttemptOrder) -> Sequence[str]:
        if isinstance(order, ChatOrder):
            return CHAT
        return MERGE if isinstance(order, MergeOrder) else self._command

    def _report_loop(self) -> None:
        first = True
        while not self._stop.is_set():
            try:
                report = self.report()
                key = wire.machine(self.settings.machine)
                self._client.set(key, report.model_dump_json(), ex=wire.MACHINE_SECONDS)
                if first:
                    self._client.publish(wire.WAKE, "worker started")
                first = False
            except redis.RedisError as error:
                log.debug("machine report not sent: %s", error)
            except Exception:
                log.exception("the machine's figures could not be read")
            self._stop.wait(REPORT_SECONDS)

    def _lease_loop(self) -> None:
        # Goes on while attempts are leaving: they still own their jobs.
        while not self._stop.is_set() or self._running:
            with self._lock:
                held = list(self._running.values())
            for running in held:
                try:
                    hold = running.claim.renew()
                except redis.RedisError as error:
                    log.debug("leases not renewed: %s", error)
                    break
                if hold is Hold.LOST and running.supervisor:
                    log.warning(
                        "job %s attempt %d: its lease was lost; ending it", running.order.job, running.order.attempt
                    )
                    running.supervisor.ask(Ask.LOSE)
            time.sleep(0.2) if self._stop.is_set() else self._stop.wait(RENEW_SECONDS)

    def _control_loop(self) -> None:
        while not self._stop.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as channel:  # pyright: ignore[reportUnknownMemberType]
                    channel.subscribe(wire.control(self.settings.machine))  # pyright: ignore[reportUnknownMemberType]
                    while not self._stop.is_set():
                        message: dict[str, Any] | None = channel.get_message(timeout=1.0)
                        if message:
                            self._hear_raw(message["data"])
            except redis.RedisError as error:
                log.debug("control channel lost: %s", error)
                self._stop.wait(RETRY_SECONDS)

    def _hear_raw(self, data: bytes) -> None:
        try:
            self.hear(Control.model_validate_json(data))
        except ValueError:
            log.warning("a control message could not be read: %s", json.dumps(repr(data))[:200])
