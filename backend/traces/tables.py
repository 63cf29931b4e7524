"""Exact traces, asked for and answered: a cache by config, spec and versions (tunescope.memory.trace_key)."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.database import Base


class TraceRow(Base):
    __tablename__ = "traces"
    __table_args__ = (Index("ix_traces_state", "state"),)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(10))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    versions: Mapped[dict[str, str]] = mapped_column(JSON)
    formula_bytes: Mapped[int | None] = mapped_column(BigInteger)
    trace: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    reason: Mapped[str | None] = mapped_column(Text)
    reason_sentence: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    sent_to: Mapped[str | None] = mapped_column(String(255))
    sent_at: Mapped[float | None] = mapped_column(Float)
    asked_at: Mapped[float] = mapped_column(Float)
    answered_at: Mapped[float | None] = mapped_column(Float)
