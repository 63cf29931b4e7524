"""What the workers told: every event once; where each step's event is; and the steps' figures summed up for the charts."""

from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.database import Base

NOT_STEPS = text("kind <> 'step'")
"""Condition of the index ``ix_events_not_steps``; a query that repeats it need not pass a million steps to find a few lines."""


class EventRow(Base):
    __tablename__ = "events"
    __table_args__ = (
        Index(
            "ix_events_not_steps",
            "job",
            "attempt",
            "sequence",
            sqlite_where=NOT_STEPS,
            postgresql_where=NOT_STEPS,
        ),
    )
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    at: Mapped[float] = mapped_column(Float)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class StepRow(Base):
    """Which event told a step. The first one counts, should a step be told twice."""

    __tablename__ = "steps"
    __table_args__ = {"sqlite_with_rowid": False}
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer)


class TierRow(Base):
    """A complete run of spans of one width, see tiers.py."""

    __tablename__ = "tiers"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    level: Mapped[int] = mapped_column(Integer, primary_key=True)
    chunk: Mapped[int] = mapped_column(Integer, primary_key=True)
    figures: Mapped[list[str]] = mapped_column(JSON)
    unknown: Mapped[dict[str, str]] = mapped_column(JSON)
    buckets: Mapped[bytes] = mapped_column(LargeBinary)
    """Little-endian 64-bit floats of the shape (figures, 4, spans): count, sum, least, greatest."""
