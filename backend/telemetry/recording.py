"""Write worker events to SQL: each once, however often it was delivered."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.telemetry.tables import StepRow
from backend.telemetry.tiers import Attempt, Kept, close_chunks
from backend.telemetry.told import Step, Told

# The text of an event is stored as it came. Both databases take it as JSON, and both know ON CONFLICT. Rows go to the driver as they
# are: for ten thousand a second, putting names to their values would cost more than writing them.
INSERT_EVENTS = (
    'INSERT INTO events (job, attempt, sequence, kind, "at", data) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING'
)
INSERT_STEPS = "INSERT INTO steps (job, attempt, step, sequence) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
MOST_KEPT = 100_000
"""How many attempts and their steps, of about 500 bytes each, are remembered before all are forgotten."""


@dataclass
class Known:
    """What is recorded of an attempt."""

    highest: int
    """Its last step; 0 if there is none."""
    kept: Kept


class Recording:
    """Records events; remembers of each attempt its last step and those of its open chunk, so that SQL is not asked for them."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[str, int], Known] = {}

    def record(self, session: Session, told: Sequence[Told]) -> None:
        """Record events of any jobs that exist; a repeated (job, attempt, sequence) changes nothing."""
        if not told:
            return
        rows = [(item.job, item.attempt, item.sequence, item.kind, item.at, item.data) for item in told]
        insert(session, INSERT_EVENTS, rows)
        steps: defaultdict[tuple[str, int], dict[int, Step]] = defaultdict(dict)
        for item in told:
            if item.step and item.step.step:
                steps[item.job, item.attempt].setdefault(item.step.step, item.step)
        if steps:
            self._record_steps(session, steps)

    def forget(self) -> None:
        """What was recorded last may have been rolled back."""
        self._attempts.clear()

    def _record_steps(self, session: Session, told: dict[tuple[str, int], dict[int, Step]]) -> None:
        known = {key: self._known(session, *key) for key in told}
        rows = [
            (job, attempt, number, step.sequence)
            for (job, attempt), steps in told.items()
            for number, step in steps.items()
        ]
        insert(session, INSERT_STEPS, rows)
        for (job, attempt), steps in told.items():
            before = known[job, attempt]
            for number, step in steps.items():
                before.kept.add(number, step)
            highest = max(before.highest, *steps)
            # The step before may have been the last of a chunk that is complete only now.
            close_chunks(Attempt(session.connection(), job, attempt, before.kept), {before.highest, *steps}, highest)
            before.kept.drop_closed(highest)
            before.highest = highest
        if sum(1 + len(known.kept.rows) for known in self._attempts.values()) > MOST_KEPT:
            self._attempts.clear()

    def _known(self, session: Session, job: str, attempt: int) -> Known:
        if (job, attempt) not in self._attempts:
            statement = select(func.max(StepRow.step)).where(StepRow.job == job, StepRow.attempt == attempt)
            highest = session.scalar(statement) or 0
            self._attempts[job, attempt] = Known(highest, Kept(highest + 1 if highest else 0))
        return self._attempts[job, attempt]


def insert(session: Session, statement: str, rows: list[tuple[Any, ...]]) -> None:
    """Run a statement with question marks for its values, once for each row."""
    connection = session.connection()
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    connection.exec_driver_sql(statement.replace("?", mark), rows)
