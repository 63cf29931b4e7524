"""The steps of an attempt summed up at several widths, so that a chart of a million steps reads a thousand spans.

At level k a span is FAN^k steps wide, and a chunk (a row of ``tiers``) holds CHUNK spans. A chunk is written when a later step has been
recorded, as a function of the level below, in the transaction that recorded the step. So writing it again changes nothing, and what
is not in a chunk yet is found in the levels below.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
from sqlalchemy import Connection, text

from backend.telemetry.buckets import Buckets, Row, combine, fold, of_rows, row_of
from backend.telemetry.told import Step, read_step

FAN = 4
CHUNK = 64

READ_STEPS = text(
    "SELECT steps.step, CAST(events.data AS TEXT) FROM steps JOIN events ON events.job = steps.job"
    " AND events.attempt = steps.attempt AND events.sequence = steps.sequence"
    " WHERE steps.job = :job AND steps.attempt = :attempt AND steps.step BETWEEN :first AND :last ORDER BY steps.step"
)
READ_CHUNKS = text(
    "SELECT chunk, CAST(figures AS TEXT), CAST(unknown AS TEXT), buckets FROM tiers"
    " WHERE job = :job AND attempt = :attempt AND level = :level AND chunk BETWEEN :first AND :last ORDER BY chunk"
)
WRITE_CHUNK = text(
    "INSERT INTO tiers (job, attempt, level, chunk, figures, unknown, buckets)"
    " VALUES (:job, :attempt, :level, :chunk, :figures, :unknown, :buckets)"
    " ON CONFLICT (job, attempt, level, chunk) DO UPDATE"
    " SET figures = excluded.figures, unknown = excluded.unknown, buckets = excluded.buckets"
)


def chunk_steps(level: int) -> int:
    """How many steps a chunk of ``level`` stands for."""
    return CHUNK * FAN**level


@dataclass
class Kept:
    """All steps of an attempt from ``first`` on, so that closing a chunk need not read again what was just written."""

    first: int
    rows: dict[int, Row] = field(default_factory=dict[int, Row])

    def add(self, step: int, told: Step) -> None:
        if step >= self.first:
            self.rows.setdefault(step, row_of(step, told))

    def drop_closed(self, highest: int) -> None:
        """Keep only steps of the chunk that step ``highest`` left open."""
        begin = highest // chunk_steps(1) * chunk_steps(1)
        if begin > self.first:
            self.first = begin
            self.rows = {step: row for step, row in self.rows.items() if step >= begin}


class Attempt(NamedTuple):
    """One attempt's steps, and the connection to read and write them by."""

    connection: Connection
    job: str
    attempt: int
    kept: Kept | None = None

    def steps(self, first: int, last: int) -> Buckets:
        """Steps from ``first`` to ``last`` (included), one a span."""
        if self.kept and self.kept.first <= first:
            rows = [row for step, row in self.kept.rows.items() if first <= step <= last]
        else:
            found = self.connection.execute(READ_STEPS, {**self._key(), "first": first, "last": last})
            rows = [row_of(int(step), read_step(data)) for step, data in found]
        return of_rows(rows, first, last - first + 1)

    def chunks(self, level: int, begin: int, end: int) -> Buckets:
        """Spans ``begin`` to ``end`` (excluded), of chunks that are complete. A missing chunk is one without a step."""
        wanted = {**self._key(), "level": level, "first": begin // CHUNK, "last": (end - 1) // CHUNK}
        parts: list[Buckets] = []
        for chunk, figures, unknown, data in self.connection.execute(READ_CHUNKS, wanted):
            names: list[str] = orjson.loads(figures)
            values = np.frombuffer(data, "<f8").reshape(len(names), 4, CHUNK)
            whole = Buckets(chunk * CHUNK, names, values, orjson.loads(unknown))
            parts.append(whole.slice(max(begin, whole.first), min(end, whole.first + CHUNK)))
        return combine(parts, begin, end - begin)

    def write(self, level: int, chunk: int, buckets: Buckets) -> None:
        values: dict[str, Any] = {
            **self._key(),
            "level": level,
            "chunk": chunk,
            "figures": orjson.dumps(buckets.names).decode(),
            "unknown": orjson.dumps(buckets.unknown).decode(),
            "buckets": buckets.values.astype("<f8").tobytes(),
        }
        self.connection.execute(WRITE_CHUNK, values)

    def _key(self) -> dict[str, Any]:
        return {"job": self.job, "attempt": self.attempt}


def close_chunks(attempt: Attempt, steps: Collection[int], highest: int) -> None:
    """Write the chunks that hold ``steps`` and are complete, now that step ``highest`` is recorded."""
    level = 1
    chunks = {step // chunk_steps(level) for step in steps}
    while closed := sorted(chunk for chunk in chunks if chunk < highest // chunk_steps(level)):
        for chunk in closed:
            attempt.write(level, chunk, fold(below(attempt, level, chunk), FAN))
        level += 1
        chunks = {chunk // FAN for chunk in closed}


def below(attempt: Attempt, level: int, chunk: int) -> Buckets:
    """What a chunk is made of: the steps, or the four chunks, of the level below."""
    if level == 1:
        first = chunk * chunk_steps(level)
        return attempt.steps(first, first + chunk_steps(level) - 1)
    return attempt.chunks(level - 1, chunk * CHUNK * FAN, (chunk + 1) * CHUNK * FAN)


def gather(attempt: Attempt, level: int, low: int, high: int, highest: int) -> Buckets:
    """Spans of FAN^level steps over exactly the steps from ``low`` to ``high`` (included); ``highest`` is the last one recorded."""
    if level == 0:
        return attempt.steps(low, high)
    width = FAN**level
    begin = -(-low // width)
    end = min((high + 1) // width, highest // chunk_steps(level) * CHUNK)
    if begin >= end:
        return fold(gather(attempt, level - 1, low, high, highest), FAN)
    parts = [attempt.chunks(level, begin, end)]
    if low < begin * width:
        parts.append(fold(gather(attempt, level - 1, low, begin * width - 1, highest), FAN))
    if high >= end * width:
        parts.append(fold(gather(attempt, level - 1, end * width, high, highest), FAN))
    first = low // width
    return combine(parts, first, high // width - first + 1)
