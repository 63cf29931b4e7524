"""Event streams -> SQL, in batches; acknowledged only after the commit. The only writer of telemetry.

A stream is acknowledged by setting the group's place in it: one command for a batch. Redis need not note each entry as delivered, and
what was read but not recorded is read again from that place.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import redis
from redis.exceptions import ResponseError
from sqlalchemy import select
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
    """Reads every stream in ``wire.EVENT_STREAMS`` from the place of the group ``wire.RECORDERS`` on."""

    def __init__(
        self, client: "redis.Redis", sessions: sessionmaker[Session], attempt_ended: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self._sessions = sessions
        self._attempt_ended = attempt_ended
        """Called when an attempt's end is recorded: its place is free."""
        self._settle = client.register_script(SETTLE)
        client.set_response_callback("XREAD", _listed)
        self._recording = Recording()
        self._recorded: dict[str, str] = {}
        """Stream -> id of the last entry that is recorded. What the group in Redis says counts, which may be one of before Redis broke down."""

    def step(self) -> int:
        """Record what is there, waiting for it a moment. Returns how many events. Raises RedisError, SQLAlchemyError."""
        streams = self._streams()
        if not streams:
            self._recorded.clear()
            time.sleep(BLOCK_MILLISECONDS / 1000)
            return 0
        try:
            self._find_places(streams)
            return self._record(self._read())
        except redis.RedisError as error:
            self._recorded.clear()
            if "NOGROUP" in str(error) or "requires the key to exist" in str(error):
                return 0  # Redis has lost the stream, or forgotten it
            raise
        except Exception:
            self._recording.forget()
            raise

    def settled(self, job: str) -> bool:
        """Whether all that Redis has of a job is recorded. Raises RedisError."""
        return wire.events(job) not in self._streams() or self._drained(wire.events(job))

    def settle_idle(self) -> None:
        """Forget streams in which nothing is left to record, of jobs that have ended. Raises RedisError."""
        self._recorded.clear()
        jobs = {stream.rpartition(":")[2]: stream for stream in self._streams()}
        with transaction(self._sessions) as session:
            active = set(session.scalars(select(JobRow.id).where(JobRow.id.in_(jobs), JobRow.state.not_in(TERMINAL))))
        for job, stream in jobs.items():
            if job not in active:
                self._settle_stream(stream)

    def _streams(self) -> set[str]:
        return {_text(key) for key in cast(set[Any], self._client.smembers(wire.EVENT_STREAMS))}

    def _drained(self, stream: str) -> bool:
        try:
            info = self._client.xinfo_stream(stream)
            group = self._group(stream)
        except ResponseError:
            return True
        return bool(group) and group["last-delivered-id"] == info["last-generated-id"] and group["pending"] == 0

    def _group(self, stream: str) -> dict[str, Any] | None:
        return next(
            (group for group in self._client.xinfo_groups(stream) if _text(group["name"]) == wire.RECORDERS), None
        )

    def _find_places(self, streams: set[str]) -> None:
        """Learn where to go on with streams that are new here."""
        self._recorded = {stream: place for stream, place in self._recorded.items() if stream in streams}
        for stream in streams:
            if stream not in self._recorded:
                self._recorded[stream] = self._place(stream)
                self._client.persist(stream)  # a retried job writes to the stream that its first attempt left to lapse

    def _place(self, stream: str) -> str:
        group = self._group(stream) if self._client.exists(stream) else None
        if group and group["pending"]:  # a release before this one read these, and did not say whether it recorded them
            self._client.xgroup_destroy(stream, wire.RECORDERS)
            group = None
        if group is None:
            self._client.xgroup_create(stream, wire.RECORDERS, id="0", mkstream=True)
        return _text(group["last-delivered-id"]) if group else "0-0"

    def _read(self) -> dict[str, Entries]:
        count = max(LEAST_PER_STREAM, BATCH // len(self._recorded))
        return cast(Any, self._client.xread(cast(Any, self._recorded), count=count, block=BLOCK_MILLISECONDS))

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
            last = entries[-1][0]
            pipeline.xgroup_setid(stream, wire.RECORDERS, last)
            attempt, _, sequence = last.partition("-")
            if int(sequence) > KEPT_ENTRIES:
                pipeline.xtrim(stream, minid=f"{attempt}-{int(sequence) - KEPT_ENTRIES}", approximate=True)
        pipeline.execute()
        self._recorded |= {stream: entries[-1][0] for stream, entries in found.items()}
        for item in told:
            if isinstance(item.event, StateEvent) and item.event.state in TERMINAL:
                self._settle_stream(wire.events(item.job))
                self._attempt_ended()
        return sum(len(entries) for entries in found.values())

    def _settle_stream(self, stream: str) -> None:
        self._settle(keys=[stream, wire.EVENT_STREAMS], args=[wire.RECORDERS, FORGET_SECONDS])
        self._recorded.pop(stream, None)


def _parse(stream: str, entry: str, data: bytes) -> Told | None:
    try:
        return parse(data)
    except ValueError as error:
        log.error("%s %s cannot be read and is left out; is the worker newer than the server? %s", stream, entry, error)
        return None


def _listed(answer: Any, **_: Any) -> dict[str, Entries]:
    """Streams and their new entries, of what XREAD answers. An entry has the one field ``wire.EVENT_FIELD``."""
    pairs = cast(Any, answer).items() if isinstance(answer, dict) else cast(Any, answer or [])
    return {_text(key): [(entry.decode(), fields[1]) for entry, fields in entries] for key, entries in pairs}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
