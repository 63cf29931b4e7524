"""Event streams -> SQL, in batches; acknowledged only after the commit. The only writer of telemetry."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import redis
from pydantic import ValidationError
from redis.exceptions import ResponseError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from backend.database import transaction
from backend.jobs.following import follow
from backend.jobs.tables import JobRow
from backend.telemetry.recording import Recording
from backend.telemetry.told import Told, parse
from tunescope import wire
from tunescope.events import StateEvent
from tunescope.states import TERMINAL

log = logging.getLogger(__name__)

CONSUMER = "recorder"
BATCH = 5000
"""How many events one transaction holds at most, shared by the streams: a commit costs the same for one as for thousands."""
LEAST_PER_STREAM = 20
BLOCK_MILLISECONDS = 100
KEPT_ENTRIES = 1000
"""Recorded entries that stay in a stream, so that a browser that follows it need not turn to SQL."""
FORGET_SECONDS = 2 * 86400
"""When the stream of an ended job goes. Until then its last id tells a worker that nothing was lost."""

# KEYS: stream, set of streams. ARGV: group, seconds to keep. Forgets a stream that holds nothing unread, and only then: a worker
# may have added to it meanwhile. Answers 1 if the stream is settled.
SETTLE = """
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then return redis.call('SREM', KEYS[2], KEYS[1]) end
local last
for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local fields = {}
  for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
  if fields['name'] == ARGV[1] and (fields['last-delivered-id'] ~= last or fields['pending'] > 0) then return 0 end
end
redis.call('SREM', KEYS[2], KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

Entries = list[tuple[str, bytes]]


class Recorder:
    """Reads every stream in ``wire.EVENT_STREAMS`` as the one consumer of a group."""

    def __init__(
        self, client: "redis.Redis", sessions: sessionmaker[Session], attempt_ended: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self._sessions = sessions
        self._attempt_ended = attempt_ended
        """Called when an attempt's end is recorded: its place is free."""
        self._settle = client.register_script(SETTLE)
        self._recording = Recording()
        self._grouped: set[str] = set()
        self._unsure = True
        """Whether entries may be pending that were delivered to us but not recorded."""

    def step(self) -> int:
        """Record what is there, waiting for it a moment. Returns how many events. Raises RedisError, SQLAlchemyError."""
        streams = sorted(_text(key) for key in cast(set[Any], self._client.smembers(wire.EVENT_STREAMS)))
        if not streams:
            self._grouped.clear()
            time.sleep(BLOCK_MILLISECONDS / 1000)
            return 0
        try:
            self._ensure_groups(streams)
            if self._unsure:
                # "0" asks for what was delivered but never acknowledged: after a crash, or a commit that failed.
                while self._record(self._read(streams, "0")):
                    pass
                self._unsure = False
            return self._record(self._read(streams, ">"))
        except ResponseError as error:
            if "NOGROUP" in str(error) or "no such key" in str(error):
                self._grouped.clear()
                return 0
            raise
        except (redis.RedisError, SQLAlchemyError):
            self._unsure = True
            self._recording.forget()
            raise

    def settled(self, job: str) -> bool:
        """Whether all that Redis has of a job is recorded. Raises RedisError."""
        return wire.events(job) not in {
            _text(key) for key in cast(set[Any], self._client.smembers(wire.EVENT_STREAMS))
        } or bool(self._drained(wire.events(job)))

    def settle_idle(self) -> None:
        """Forget streams in which nothing is left to record, of jobs that have ended. Raises RedisError."""
        streams = [_text(key) for key in cast(set[Any], self._client.smembers(wire.EVENT_STREAMS))]
        jobs = {stream.rpartition(":")[2]: stream for stream in streams}
        with transaction(self._sessions) as session:
            active = set(session.scalars(select(JobRow.id).where(JobRow.id.in_(jobs), JobRow.state.not_in(TERMINAL))))
        for job, stream in jobs.items():
            if job not in active:
                self._settle_stream(stream)

    def _drained(self, stream: str) -> bool:
        try:
            info = self._client.xinfo_stream(stream)
            groups = self._client.xinfo_groups(stream)
        except ResponseError:
            return True
        mine = next((group for group in groups if _text(group["name"]) == wire.RECORDERS), None)
        return bool(mine) and mine["last-delivered-id"] == info["last-generated-id"] and mine["pending"] == 0

    def _ensure_groups(self, streams: list[str]) -> None:
        self._grouped &= set(streams)
        for stream in streams:
            if stream in self._grouped:
                continue
            try:
                self._client.xgroup_create(stream, wire.RECORDERS, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            self._client.persist(stream)  # a retried job writes to the stream that its first attempt left to lapse
            self._grouped.add(stream)

    def _read(self, streams: list[str], start: str) -> dict[str, Entries]:
        answer = self._client.xreadgroup(
            wire.RECORDERS,
            CONSUMER,
            {stream: start for stream in streams},
            count=max(LEAST_PER_STREAM, BATCH // len(streams)),
            block=BLOCK_MILLISECONDS,
        )
        pairs = cast(Any, answer).items() if isinstance(answer, dict) else cast(Any, answer or [])
        found: dict[str, Entries] = {}
        for key, entries in pairs:
            if entries and isinstance(answer, dict) and isinstance(entries[0], list):
                entries = entries[0]
            listed = [
                (_text(entry), fields.get(wire.EVENT_FIELD.encode(), b"") if fields else b"")
                for entry, fields in entries
            ]
            if listed:
                found[_text(key)] = listed
        return found

    def _record(self, found: dict[str, Entries]) -> int:
        if not found:
            return 0
        told = [
            item
            for stream, entries in found.items()
            for entry, data in entries
            if (item := _parse(stream, entry, data))
        ]
        with transaction(self._sessions) as session:
            mentioned = {item.job for item in told}
            known = set(session.scalars(select(JobRow.id).where(JobRow.id.in_(mentioned))))
            told = [item for item in told if item.job in known]  # the others' jobs were deleted
            self._recording.record(session, told)
            by_job: defaultdict[str, list[Told]] = defaultdict(list)
            for item in told:
                by_job[item.job].append(item)
            follow(session, by_job)
        pipeline = self._client.pipeline(transaction=False)
        for stream, entries in found.items():
            pipeline.xack(stream, wire.RECORDERS, *[entry for entry, _ in entries])
            attempt, _, sequence = entries[-1][0].partition("-")
            if int(sequence) > KEPT_ENTRIES:
                pipeline.xtrim(stream, minid=f"{attempt}-{int(sequence) - KEPT_ENTRIES}", approximate=True)
        pipeline.execute()
        for item in told:
            if isinstance(item.event, StateEvent) and item.event.state in TERMINAL:
                self._settle_stream(wire.events(item.job))
                self._attempt_ended()
        return sum(len(entries) for entries in found.values())

    def _settle_stream(self, stream: str) -> None:
        self._settle(keys=[stream, wire.EVENT_STREAMS], args=[wire.RECORDERS, FORGET_SECONDS])
        self._grouped.discard(stream)


def _parse(stream: str, entry: str, data: bytes) -> Told | None:
    try:
        return parse(data)
    except ValidationError as error:
        log.error("%s %s cannot be read and is left out; is the worker newer than the server? %s", stream, entry, error)
        return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
