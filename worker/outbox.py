"""The event log of one attempt on disk, and its delivery to Redis at least once.

An event is in the file before anyone else hears of it, so whatever ends the trainer, the supervisor can deliver what it wrote.
The processes of a trainer and its supervisor append to the same file in turn, under flock; a line's sequence is one more than that of the line before.
"""

import fcntl
import json
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from tunescope.events import ArtifactEvent, CheckpointEvent, EventBase, JobEvent, StateEvent, job_event

FILE = "outbox.jsonl"
BELL_ENV = "TUNESCOPE_BELL_FD"
"""Environment variable with the file descriptor of the pipe on which the trainer tells the supervisor of new events."""
TAIL_BYTES = 64 * 1024
DURABLE = (StateEvent, CheckpointEvent, ArtifactEvent)
"""Events that must outlive a power cut: the file is flushed to disk after each."""

Event = TypeVar("Event", bound=EventBase)


def bell_from_environment() -> int | None:
    """The bell's file descriptor, or None when no supervisor listens."""
    value = os.environ.get(BELL_ENV, "")
    return int(value) if value.isdigit() else None


class Outbox:
    """Appends events of one attempt. Safe between threads and between processes."""

    def __init__(self, attempt_dir: Path | str, *, job: str, attempt: int, bell: int | None = None) -> None:
        self.path = Path(attempt_dir) / FILE
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.job = job
        self.attempt = attempt
        self._bell = bell if bell is not None else bell_from_environment()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._lock = threading.Lock()
        self._end = 0
        self._sequence = 0

    def emit(self, event_class: type[Event], **fields: Any) -> Event:
        """Build the next event of this attempt, write it, ring the bell. Raises OSError when the disk is full."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                self._catch_up()
                event = event_class(
                    job=self.job, attempt=self.attempt, sequence=self._sequence + 1, at=time.time(), **_finite(fields)
                )
                self._write(event.model_dump_json().encode() + b"\n")
                self._sequence = event.sequence
                if isinstance(event, DURABLE):
                    os.fsync(self._file)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._ring()
        return event

    def close(self) -> None:
        os.close(self._file)

    def _catch_up(self) -> None:
        """Learn what other processes appended, and drop a last line that was never finished."""
        size = os.fstat(self._file).st_size
        if size == self._end:
            return
        last, end = self._last_line(size)
        if last:
            self._sequence = int(json.loads(last)["sequence"])
        self._end = end
        if self._end < size:  # its writer died in the middle of the write: nobody was told of it
            os.ftruncate(self._file, self._end)

    def _last_line(self, size: int) -> tuple[bytes, int]:
        """The last complete line of those appended since, and where it ends. A process that seldom speaks reads no more than it needs."""
        length = TAIL_BYTES
        while True:
            begin = max(self._end, size - length)
            *lines, _unfinished = os.pread(self._file, size - begin, begin).split(b"\n")
            if begin == self._end or len(lines) > 1:  # the first may have begun before
                return lines[-1] if lines else b"", size - len(_unfinished)
            length *= 8

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.pwrite(self._file, line[written:], self._end + written)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(line)

    def _ring(self) -> None:
        if self._bell is None:
            return
        try:
            os.write(self._bell, b"\n")
        except (
            OSError
        ):  # full pipe: the supervisor is awake already; broken pipe: it is gone, and its successor reads the file
            pass


def _finite(value: Any) -> Any:
    """JSON has no NaN: a figure that is not a number is told as unknown (None)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


def complete_lines(path: Path, offset: int, limit_bytes: int = 1 << 20) -> tuple[list[bytes], int]:
    """Complete lines from ``offset`` on (at least one if there is one), and the offset after them."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(limit_bytes)
            if chunk and b"\n" not in chunk:
                chunk += file.readline()
    except FileNotFoundError:
        return [], offset
    end = chunk.rfind(b"\n") + 1
    return chunk[:end].splitlines(), offset + end


def read_events(attempt_dir: Path | str) -> Iterator[JobEvent]:
    """All complete events of an attempt, in order."""
    path = Path(attempt_dir) / FILE
    offset = 0
    while True:
        lines, offset = complete_lines(path, offset)
        if not lines:
            return
        for line in lines:
            yield job_event.validate_json(line)
