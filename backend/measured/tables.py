"""Predicted and measured memory of every job that was measured."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.database import Base


class AccuracyRow(Base):
    """A finished job's steady step beside its estimate. ``comparison`` is a list of CategoryComparison."""

    __tablename__ = "accuracy"
    __table_args__ = (Index("ix_accuracy_device", "on_gpu", "device", "at"), Index("ix_accuracy_at", "at", "job"))
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[float] = mapped_column(Float)
    device: Mapped[str] = mapped_column(String(200))
    on_gpu: Mapped[bool] = mapped_column(Boolean)
    step: Mapped[int] = mapped_column(Integer)
    summary: Mapped[dict[str, Any]] = mapped_column(JSON)
    comparison: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    predicted_bytes: Mapped[int] = mapped_column(BigInteger)
    measured_bytes: Mapped[int] = mapped_column(BigInteger)
