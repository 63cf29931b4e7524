"""Traces between SQL and workers: records answers, asks for new jobs' traces, sends requests until they are answered."""

import logging
import time
from collections.abc import Sequence
from typing import Any, cast

import redis
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.database import transaction
from backend.traces import service
from backend.traces.tables import TraceRow
from tunescope import wire
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.spec import JobSpec
from tunescope.wire import MachineReport, TraceAnswer, TraceRequest

log = logging.getLogger(__name__)

RESEND_SECONDS = 20.0
"""How long a request that its worker neither has in its queue nor works on may stay without an answer."""
TRIES = 3
ABANDONED_SECONDS = 600.0
"""How long a request from a form is kept alive without a worker."""
QUEUE_SECONDS = 600
"""A queue that nobody reads is forgotten after this time."""
ANSWERS_PER_ROUND = 50
SENT_PER_ROUND = 50
FORGET_EVERY_SECONDS = 3600.0


class Traces:
    """One round at a time; every send may be lost or doubled."""

    def __init__(self, client: "redis.Redis", sessions: sessionmaker[Session], settings: ServerSettings) -> None:
        self._client = client
        self._sessions = sessions
        self._settings = settings
        self._forget_at = 0.0

    def step(self, machines: Sequence[MachineReport]) -> None:
        """Record, ask, send. Raises RedisError, SQLAlchemyError."""
        while self._record():
            pass
        with transaction(self._sessions) as session:
            service.ask_for_jobs(session, self._settings, machines)
        with transaction(self._sessions) as session:
            self._send_pending(session, machines)
        if time.monotonic() >= self._forget_at:
            with transaction(self._sessions) as session:
                service.forget_old(session, time.time())
            self._forget_at = time.monotonic() + FORGET_EVERY_SECONDS

    def _record(self) -> int:
        """Write a batch of answers, then remove it from Redis: a crash in between only records it twice."""
        values = cast(list[bytes], self._client.lrange(wire.TRACE_ANSWERS, 0, ANSWERS_PER_ROUND - 1))
        if not values:
            return 0
        with transaction(self._sessions) as session:
            for value in values:
                try:
                    service.record(session, TraceAnswer.model_validate_json(value))
                except ValidationError as error:
                    log.error("a trace cannot be read; is the worker newer than the server? %s", error)
        self._client.ltrim(wire.TRACE_ANSWERS, len(values), -1)
        return len(values)

    def _send_pending(self, session: Session, machines: Sequence[MachineReport]) -> None:
        pending = select(TraceRow).where(TraceRow.state == "pending").order_by(TraceRow.asked_at).limit(SENT_PER_ROUND)
        rows = list(session.scalars(pending))
        if not rows:
            return
        wanted = service.waited_for(session, [row.key for row in rows])
        able = service.tracing_machines(machines)
        now = time.time()
        for row in rows:
            if not readable(row):
                service.fail(row, say("trace_unreadable_here"))
            elif row.key not in wanted and now - row.asked_at > ABANDONED_SECONDS:
                service.fail(row, say("trace_abandoned"))
            elif not able:
                service.tell(row, service.NO_TRACER)
            elif not self._under_way(row, able, now):
                self._send(row, able, now)

    def _under_way(self, row: TraceRow, able: Sequence[MachineReport], now: float) -> bool:
        if any(machine.tracing == row.key for machine in able):
            return True
        if row.sent_to not in {machine.name for machine in able}:
            return False
        if now - (row.sent_at or 0) < RESEND_SECONDS:
            return True
        position: Any = self._client.lpos(wire.trace_requests(row.sent_to or ""), payload(row))
        return position is not None

    def _send(self, row: TraceRow, able: Sequence[MachineReport], now: float) -> None:
        if row.tries >= TRIES:
            service.fail(row, say("trace_unanswered", machine=row.sent_to or "", times=TRIES))
            return
        # The machine must have the versions that the key stands for, if any has; then the idlest.
        machine = min(able, key=lambda item: (item.versions != row.versions, len(item.running), item.name))
        queue = wire.trace_requests(machine.name)
        self._client.rpush(queue, payload(row))
        self._client.expire(queue, QUEUE_SECONDS)
        row.sent_to, row.sent_at, row.tries = machine.name, now, row.tries + 1
        service.tell(row, service.WAITS)


def readable(row: TraceRow) -> bool:
    """Whether a row's spec is one: a row that is not must not keep the others from being sent."""
    try:
        payload(row)
    except ValidationError as error:
        log.error("trace %s: %s", row.key, error)
        return False
    return True


def payload(row: TraceRow) -> str:
    """The request of a row, always the same text: so it is found in a queue."""
    request = TraceRequest(key=row.key, spec=JobSpec.model_validate(row.spec), config=row.config, versions=row.versions)
    return request.model_dump_json()
