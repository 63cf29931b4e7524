"""Delivers outboxes to Redis: at least once, in order, without a hole.

A stream entry's id is ``<attempt>-<sequence>``, so Redis refuses a second copy by itself. Before adding, the stream's last id is
compared with what was delivered before: a Redis that came back with older data gets the difference again.
"""

import contextlib
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, cast

import redis

from tunescope import wire
from worker.outbox import FILE, complete_lines

log = logging.getLogger(__name__)

ACK = "outbox.ack"
BATCH_EVENTS = 500
WATCH_SECONDS = 30.0
"""How long a delivered outbox is still compared with Redis: longer than Redis may lag behind on its own disk."""
IDLE_SECONDS = 1.0

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


class Relay:
    """One attempt's outbox on its way to Redis. Remembers on disk how far it came."""

    def __init__(self, client: "redis.Redis", attempt_dir: Path, *, job: str, attempt: int) -> None:
        self.job = job
        self.attempt = attempt
        self._path = attempt_dir / FILE
        self._ack = attempt_dir / ACK
        self._client = client
        self._script = client.register_script(DELIVER)
        self._offset, self._sequence = self._read_ack()

    def deliver(self) -> int:
        """Send everything complete that was not delivered; return how many events went. Raises redis.RedisError."""
        sent = 0
        while True:
            lines, end = complete_lines(self._path, self._offset)
            pairs = [(int(json.loads(line)["sequence"]), line) for line in lines[:BATCH_EVENTS]]
            if len(lines) > BATCH_EVENTS:
                end = self._offset + sum(len(line) + 1 for line in lines[:BATCH_EVENTS])
            arguments: list[Any] = [wire.EVENT_FIELD, self.attempt, self._sequence]
            for sequence, line in pairs:
                arguments += [sequence, line]
            last = int(cast(int, self._script(keys=[wire.events(self.job), wire.EVENT_STREAMS], args=arguments)))
            if 0 <= last < self._sequence:
                log.warning(
                    "job %s: Redis lost events %d to %d; sending them again", self.job, last + 1, self._sequence
                )
                self._remember(0, last)
                continue
            if not pairs:
                return sent
            self._remember(end, max(self._sequence, pairs[-1][0]))
            sent += len(pairs)

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

    def _remember(self, offset: int, sequence: int) -> None:
        self._offset, self._sequence = offset, sequence
        draft = self._ack.with_suffix(".ack.new")
        draft.write_text(f"{offset} {sequence}")
        os.replace(draft, self._ack)


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
            if not self.deliver_all():
                time.sleep(0.5)

    def deliver_all(self) -> bool:
        """One round over all outboxes; False when Redis does not answer."""
        with self._lock:
            relays = list(self._relays.items())
        for key, (relay, finished) in relays:
            try:
                relay.deliver()
            except redis.RedisError as error:
                if not self._unreachable:
                    log.warning("Redis does not answer (%s); events stay on disk and are sent when it does", error)
                self._unreachable = True
                return False
            except (OSError, ValueError) as error:
                log.error("job %s attempt %d: its outbox cannot be read: %s", relay.job, relay.attempt, error)
                finished = 0.0 if finished is not None else None
            if finished is not None and time.monotonic() - finished > WATCH_SECONDS and not relay.undelivered():
                with self._lock:
                    self._relays.pop(key, None)
        if self._unreachable:
            log.info("Redis answers again")
        self._unreachable = False
        return True

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End the thread, after one more try to deliver."""
        self._stopping = True
        self.ring()
        self.join(timeout_seconds)
        self.deliver_all()


def recent_attempts(jobs_dir: Path, within_seconds: float = 86400.0) -> list[tuple[Path, str, int]]:
    """Attempts whose outbox changed lately, as (directory, job, attempt): after a restart they may hold undelivered events."""
    found: list[tuple[Path, str, int]] = []
    for path in jobs_dir.glob(f"*/*/{FILE}"):
        attempt = path.parent.name
        if attempt.isdigit() and time.time() - path.stat().st_mtime < within_seconds:
            found.append((path.parent, path.parent.parent.name, int(attempt)))
    return found
