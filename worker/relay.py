"""Delivers outboxes to Redis: at least once, in order, without a hole.

A stream entry's id is ``<attempt>-<sequence>``, so Redis refuses a second copy by itself. Before adding, the stream's last id is
compared with what was delivered before: a Redis that came back with older data gets the difference again.
"""

import contextlib
import json
import logging
import os
import re
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

import redis

from tunescope import wire
from worker.outbox import FILE, complete_lines

log = logging.getLogger(__name__)

ACK = "outbox.ack"
BATCH_EVENTS = 500
BATCH_OUTBOXES = 16
"""How many outboxes share one round trip to Redis."""
WATCH_SECONDS = 30.0
"""How long a delivered outbox is still compared with Redis: longer than Redis may lag behind on its own disk."""
IDLE_SECONDS = 1.0
GATHER_SECONDS = 0.005
"""Least time between two rounds, so that a burst of events costs one round trip."""
ACK_SECONDS = 1.0
"""Least time between two notes of progress on disk. An old note only means that Redis is offered some events again."""
SEQUENCE = re.compile(rb'"sequence":(\d+)')

# KEYS: stream, set of streams. ARGV: stream field, attempt, sequence delivered before, then (sequence, event) pairs.
# Answers the last sequence of this attempt in the stream; smaller than "delivered before" means that Redis lost entries and
# nothing was added. Answers -1 when a later attempt already writes: this attempt has nothing more to say.
DELIVER = """
local attempt, before = tonumber(ARGV[2]), tonumber(ARGV[3])
local last = 0
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local a, s = string.match(info[i + 1], '(%d+)-(%d+)')
      if tonumber(a) > attempt then return -1 end
      if tonumber(a) == attempt then last = tonumber(s) end
    end
  end
end
if last < before then return last end
for i = 4, #ARGV, 2 do
  local sequence = tonumber(ARGV[i])
  if sequence > last then
    redis.call('XADD', KEYS[1], ARGV[2] .. '-' .. ARGV[i], ARGV[1], ARGV[i + 1])
    last = sequence
  end
end
if #ARGV > 3 then redis.call('SADD', KEYS[2], KEYS[1]) end
return last
"""


class Batch(NamedTuple):
    """Complete lines of an outbox, and what comes after them."""

    pairs: list[tuple[int, bytes]]
    """(sequence, event as JSON)"""
    end: int
    """Where the file goes on, in bytes."""


class Relay:
    """One attempt's outbox on its way to Redis. Remembers on disk how far it came."""

    def __init__(self, client: "redis.Redis", attempt_dir: Path, *, job: str, attempt: int) -> None:
        self.job = job
        self.attempt = attempt
        self.compared_at = 0.0
        """When Redis last said what it holds, by the monotonic clock."""
        self._path = attempt_dir / FILE
        self._ack = attempt_dir / ACK
        self._client = client
        self._script = client.register_script(DELIVER)
        self._offset, self._sequence = self._read_ack()
        self._noted_at = 0.0

    def deliver(self) -> int:
        """Send everything complete that was not delivered; return how many events went. Raises redis.RedisError."""
        sent = 0
        while True:
            batch = self.next_batch()
            if self.confirm(batch, self.send(batch, self._client)):
                sent += len(batch.pairs)
                if not batch.pairs:
                    return sent

    def next_batch(self) -> Batch:
        lines, end = complete_lines(self._path, self._offset)
        if len(lines) > BATCH_EVENTS:
            lines = lines[:BATCH_EVENTS]
            end = self._offset + sum(len(line) + 1 for line in lines)
        return Batch(numbered(lines), end)

    def send(self, batch: Batch, client: "redis.Redis") -> Any:
        """Offer a batch to Redis; an empty one asks what it holds. In a pipeline, the answer comes when that is executed."""
        arguments: list[Any] = [wire.EVENT_FIELD, self.attempt, self._sequence]
        for pair in batch.pairs:
            arguments += pair
        return self._script(keys=[wire.events(self.job), wire.EVENT_STREAMS], args=arguments, client=client)

    def confirm(self, batch: Batch, answer: Any) -> bool:
        """Take Redis's answer to a batch; False if it has lost events, which are sent again next."""
        last = int(cast(int, answer))
        self.compared_at = time.monotonic()
        if 0 <= last < self._sequence:
            log.warning("job %s: Redis lost events %d to %d; sending them again", self.job, last + 1, self._sequence)
            self._offset, self._sequence = 0, last
            self.note()
            return False
        if batch.pairs:
            self._offset, self._sequence = batch.end, max(self._sequence, batch.pairs[-1][0])
            if self.compared_at - self._noted_at > ACK_SECONDS:
                self.note()
        return True

    def undelivered(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._path.stat().st_size > self._offset
        return False

    def _read_ack(self) -> tuple[int, int]:
        try:
            offset, sequence = self._ack.read_text().split()
            return int(offset), int(sequence)
        except (FileNotFoundError, ValueError):
            return 0, 0

    def note(self) -> None:
        """Write down how far the delivery came. What is not noted is offered again after a restart, and Redis knows it by its number."""
        self._noted_at = time.monotonic()
        draft = self._ack.with_suffix(".ack.new")
        try:
            draft.write_text(f"{self._offset} {self._sequence}")
            os.replace(draft, self._ack)
        except FileNotFoundError:
            log.info("job %s: its folder is gone, it was deleted", self.job)
        except OSError as error:
            log.warning("job %s: how far its events came cannot be written down: %s", self.job, error)


def numbered(lines: list[bytes]) -> list[tuple[int, bytes]]:
    """Lines with their sequences, which have no holes: those of the first and the last tell the others."""
    if not lines:
        return []
    first, last = sequence_of(lines[0]), sequence_of(lines[-1])
    if last - first == len(lines) - 1:
        return list(enumerate(lines, first))
    return [(sequence_of(line), line) for line in lines]


def sequence_of(line: bytes) -> int:
    """An event's sequence stands near its beginning; within a JSON string the quotes would be escaped."""
    found = SEQUENCE.search(line)
    return int(found[1]) if found else int(json.loads(line)["sequence"])


class RelayThread(threading.Thread):
    """Delivers all outboxes of this machine; ``ring()`` says that one of them grew."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__(name="relay", daemon=True)
        self._client = client
        self._relays: dict[tuple[str, int], tuple[Relay, float | None]] = {}
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._stopping = False
        self._unreachable = False
        self._bad: set[tuple[str, int]] = set()
        """Outboxes that could not be read."""

    def add(self, attempt_dir: Path, *, job: str, attempt: int, finished: bool = False) -> None:
        relay = Relay(self._client, attempt_dir, job=job, attempt=attempt)
        with self._lock:
            self._relays[(job, attempt)] = (relay, time.monotonic() if finished else None)
        self.ring()

    def finish(self, job: str, attempt: int) -> None:
        """No more events will come from this attempt."""
        with self._lock:
            relay, _ = self._relays[(job, attempt)]
            self._relays[(job, attempt)] = (relay, time.monotonic())
        self.ring()

    def ring(self) -> None:
        self._bell.set()

    def run(self) -> None:
        while not self._stopping:
            self._bell.wait(IDLE_SECONDS)
            self._bell.clear()
            began = time.monotonic()
            if not self.deliver_all():
                time.sleep(0.5)
            time.sleep(max(0.0, began + GATHER_SECONDS - time.monotonic()))

    def deliver_all(self) -> bool:
        """Deliver all outboxes that grew, and compare those that were not for a while; False when Redis does not answer."""
        with self._lock:
            entries = list(self._relays.items())
        unread: set[tuple[str, int]] = set()
        while True:
            now = time.monotonic()
            waiting = [
                (key, relay)
                for key, (relay, _) in entries
                if key not in unread and (relay.undelivered() or now - relay.compared_at > IDLE_SECONDS)
            ]
            if not waiting:
                break
            try:
                for start in range(0, len(waiting), BATCH_OUTBOXES):
                    unread |= self._deliver_some(waiting[start : start + BATCH_OUTBOXES])
            except redis.RedisError as error:
                if not self._unreachable:
                    log.warning("Redis does not answer (%s); events stay on disk and are sent when it does", error)
                self._unreachable = True
                return False
        if self._unreachable:
            log.info("Redis answers again")
        self._unreachable = False
        self._drop_finished(unread)
        return True

    def _deliver_some(self, relays: list[tuple[tuple[str, int], Relay]]) -> set[tuple[str, int]]:
        """One batch of each, in one round trip. Returns those with nothing more to read now: a torn line, or no way to read."""
        done: set[tuple[str, int]] = set()
        sent: list[tuple[Relay, Batch]] = []
        pipeline = self._client.pipeline(transaction=False)
        for key, relay in relays:
            try:
                batch = relay.next_batch()
            except (OSError, ValueError) as error:
                log.error("job %s attempt %d: its outbox cannot be read: %s", relay.job, relay.attempt, error)
                self._bad.add(key)
                done.add(key)
                continue
            relay.send(batch, pipeline)
            sent.append((relay, batch))
            if not batch.pairs:
                done.add(key)
        for (relay, batch), answer in zip(sent, pipeline.execute() if sent else [], strict=True):
            if not relay.confirm(batch, answer):
                done.discard((relay.job, relay.attempt))
        return done

    def _drop_finished(self, unread: set[tuple[str, int]]) -> None:
        """Forget outboxes that ended long enough ago, and those that ended and cannot be read."""
        with self._lock:
            for key, (relay, finished) in list(self._relays.items()):
                if finished is None:
                    continue
                settled = time.monotonic() - finished > WATCH_SECONDS and not relay.undelivered()
                if settled or (key in unread and key in self._bad):
                    relay.note()
                    self._relays.pop(key)
                    self._bad.discard(key)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End the thread, after one more try to deliver."""
        self._stopping = True
        self.ring()
        self.join(timeout_seconds)
        self.deliver_all()
        for relay, _ in self._relays.values():
            relay.note()


def recent_attempts(jobs_dir: Path, within_seconds: float = 86400.0) -> list[tuple[Path, str, int]]:
    """Attempts whose outbox changed lately, as (directory, job, attempt): after a restart they may hold undelivered events."""
    found: list[tuple[Path, str, int]] = []
    for path in jobs_dir.glob(f"*/*/{FILE}"):
        attempt = path.parent.name
        if attempt.isdigit() and time.time() - path.stat().st_mtime < within_seconds:
            found.append((path.parent, path.parent.parent.name, int(attempt)))
    return found
