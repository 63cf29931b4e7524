"""Jobs whose worker is gone, and cancels that were not heard.

A job is alive while its lease is, or while its machine says that it runs there. One that is neither for LEASE_SECONDS is lost:
it is queued again from its last checkpoint, or fails if it was lost several times without reaching one.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import redis
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.jobs.tables import CHAT, MERGE, JobRow
from backend.jobs.transitions import move, requeue
from backend.telemetry.checkpoints import last_checkpoint_attempt
from tunescope import wire
from tunescope.events import Failure
from tunescope.sentences import say
from tunescope.states import ACTIVE, FailureReason, JobState
from tunescope.wire import Control, MachineReport

log = logging.getLogger(__name__)

ATTEMPTS_WITHOUT_PROGRESS = 3
UNHEARD_SECONDS = 5.0
"""How long a cancel waits for a worker that holds no lease."""
REPEAT_SECONDS = 2.0

# KEYS: fence. ARGV: fence to refuse up to, seconds to keep.
REFUSE = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if held < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return held
"""
REFUSE_SECONDS = 30 * 86400


class Leases:
    """Watches active rows against what Redis says of them."""

    def __init__(
        self, client: "redis.Redis", settled: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._settled = settled
        self._clock = clock
        self._refuse = client.register_script(REFUSE)
        self._gone_since: dict[tuple[str, int], float] = {}
        self._told_at: dict[tuple[str, int], float] = {}

    def forget(self) -> None:
        """Redis did not answer: what was not seen meanwhile says nothing about workers."""
        self._gone_since.clear()

    def check(self, session: Session, machines: Mapping[str, MachineReport]) -> None:
        """One round over all active jobs. Raises RedisError."""
        rows = list(session.scalars(select(JobRow).where(JobRow.state.in_(ACTIVE))))
        keys = {(row.id, row.fence) for row in rows}
        self._gone_since = {key: at for key, at in self._gone_since.items() if key in keys}
        self._told_at = {key: at for key, at in self._told_at.items() if key in keys}
        for row in rows:
            self._check_row(session, row, machines.get(row.machine or ""))

    def _check_row(self, session: Session, row: JobRow, machine: MachineReport | None) -> None:
        key = (row.id, row.fence)
        now = self._clock()
        if row.state == JobState.CANCELLING:
            self._repeat_cancel(row, now)
        if self._alive(row, machine):
            self._gone_since.pop(key, None)
            return
        gone = now - self._gone_since.setdefault(key, now)
        if row.state == JobState.CANCELLING:
            if gone >= UNHEARD_SECONDS and self._settled(row.id):
                # From here on a late order for this attempt is refused by its fence.
                self._refuse(keys=[wire.fence(row.id)], args=[row.fence, REFUSE_SECONDS])
                move(session, row.id, JobState.CANCELLED, fence=row.fence)
            return
        if gone < wire.LEASE_SECONDS or not self._settled(row.id):
            return
        if row.state == JobState.ASSIGNED and machine is not None and not self._claimed(row):
            return  # its order is on the way, and sent again until it is claimed
        self._refuse(keys=[wire.fence(row.id)], args=[row.fence, REFUSE_SECONDS])
        self._lost(session, row)

    def _alive(self, row: JobRow, machine: MachineReport | None) -> bool:
        if machine is not None and row.id in machine.running:
            return True
        value: Any = self._client.get(wire.lease(row.id))
        return value is not None and json.loads(value).get("fence") == row.fence

    def _claimed(self, row: JobRow) -> bool:
        value: Any = self._client.get(wire.fence(row.id))
        return value is not None and int(value) >= row.fence

    def _repeat_cancel(self, row: JobRow, now: float) -> None:
        key = (row.id, row.fence)
        if row.machine and now - self._told_at.get(key, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            message = Control(job=row.id, attempt=row.attempt, action="cancel")
            self._client.publish(wire.control(row.machine), message.model_dump_json())
            self._told_at[key] = now

    def _lost(self, session: Session, row: JobRow) -> None:
        if row.task == CHAT:
            # What was loaded and said is gone with the machine: a chat does not go on elsewhere.
            failure = Failure.of(
                FailureReason.MACHINE_LOST, say("machine_stopped", machine=row.machine or ""), say("chat_start_again")
            )
            move(session, row.id, JobState.FAILED, fence=row.fence, failure=failure.model_dump(mode="json"))
            log.warning("chat %s failed: %s is gone", row.id, row.machine)
            return
        reached = last_checkpoint_attempt(session, row.id)
        if row.attempt >= ATTEMPTS_WITHOUT_PROGRESS and (reached or 0) <= row.attempt - ATTEMPTS_WITHOUT_PROGRESS:
            failure = Failure.of(
                FailureReason.MACHINE_LOST,
                say("machine_lost", machine=row.machine or "", times=ATTEMPTS_WITHOUT_PROGRESS),
                say("merge_later" if row.task == MERGE else "see_machine"),
            )
            move(session, row.id, JobState.FAILED, fence=row.fence, failure=failure.model_dump(mode="json"))
            log.warning("job %s failed: its machine was lost %d times", row.id, ATTEMPTS_WITHOUT_PROGRESS)
            return
        failure = Failure.of(
            FailureReason.MACHINE_LOST, say("machine_stopped", machine=row.machine or ""), say("queued_again")
        )
        if requeue(session, row, resume_from_attempt=reached, failure=failure.model_dump(mode="json")):
            log.warning("job %s: %s is gone; the job is queued again", row.id, row.machine)
