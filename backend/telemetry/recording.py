"""Write worker events to SQL: each once, however often it was delivered."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.telemetry.tables import StepRow
from backend.telemetry.tiers import Attempt, close_chunks
from backend.telemetry.told import Told

# The text of an event is stored as it came. Both databases take it as JSON, and both know ON CONFLICT. Rows go to the driver as they
# are: for ten thousand a second, putting names to their values would cost more than writing them.
INSERT_EVENTS = (
    'INSERT INTO events (job, attempt, sequence, kind, "at", data) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING'
)
INSERT_STEPS = "INSERT INTO steps (job, attempt, step, sequence) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
REMEMBERED_ATTEMPTS = 10_000


class Recording:
    """Records events; remembers the last step of each attempt, so that SQL is asked for it only once."""

    def __init__(self) -> None:
        self._highest: dict[tuple[str, int], int] = {}

    def record(self, session: Session, told: Sequence[Told]) -> None:
        """Record events of any jobs that exist; a repeated (job, attempt, sequence) changes nothing."""
        if not told:
            return
        rows = [(item.job, item.attempt, item.sequence, item.kind, item.at, item.data) for item in told]
        insert(session, INSERT_EVENTS, rows)
        steps: defaultdict[tuple[str, int], dict[int, int]] = defaultdict(dict)
        for item in told:
            if item.step is not None:
                steps[item.job, item.attempt].setdefault(item.step, item.sequence)
        if steps:
            self._record_steps(session, steps)

    def forget(self) -> None:
        """What was recorded last may have been rolled back."""
        self._highest.clear()

    def _record_steps(self, session: Session, told: dict[tuple[str, int], dict[int, int]]) -> None:
        before = {key: self._highest_step(session, *key) for key in told}
        rows = [
            (job, attempt, step, sequence) for (job, attempt), steps in told.items() for step, sequence in steps.items()
        ]
        insert(session, INSERT_STEPS, rows)
        for (job, attempt), steps in told.items():
            known = before[job, attempt]
            highest = max(known, *steps)
            # The step before may have been the last of a chunk that is complete only now.
            close_chunks(Attempt(session.connection(), job, attempt), {known, *steps}, highest)
            self._highest[job, attempt] = highest

    def _highest_step(self, session: Session, job: str, attempt: int) -> int:
        """The last step recorded before; 0 if there is none."""
        if len(self._highest) > REMEMBERED_ATTEMPTS:
            self._highest.clear()
        if (job, attempt) not in self._highest:
            statement = select(func.max(StepRow.step)).where(StepRow.job == job, StepRow.attempt == attempt)
            self._highest[job, attempt] = session.scalar(statement) or 0
        return self._highest[job, attempt]


def insert(session: Session, statement: str, rows: list[tuple[Any, ...]]) -> None:
    """Run a statement with question marks for its values, once for each row."""
    connection = session.connection()
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    connection.exec_driver_sql(statement.replace("?", mark), rows)
