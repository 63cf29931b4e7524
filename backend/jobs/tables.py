"""Jobs. Only backend.jobs.transitions writes ``state``."""

from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.database import Base

Task = Literal["train", "chat", "merge"]
TRAIN: Task = "train"
CHAT: Task = "chat"
MERGE: Task = "merge"
"""What is done in a job. A chat with what a training left is a row of its own, with one of ``chats`` beside it; so is a merge, with one of
``merges``."""


class JobRow(Base):
    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_created", "created_at", "id"), Index("ix_jobs_state", "state"))
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    task: Mapped[Task] = mapped_column(String(10), default=TRAIN, server_default=TRAIN)
    state: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    estimate: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    estimate_unknown_because: Mapped[str | None] = mapped_column(Text)
    estimate_unknown_problem: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    machine: Mapped[str | None] = mapped_column(String(255))
    gpus: Mapped[list[str]] = mapped_column(JSON, default=list)
    step: Mapped[int] = mapped_column(Integer, default=0)
    total_steps: Mapped[int | None] = mapped_column(Integer)
    stage: Mapped[str | None] = mapped_column(String(300))
    latest: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    peak_gpu_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """The most that any attempt was measured to hold of one GPU."""
    peaks: Mapped[dict[str, int] | None] = mapped_column(JSON)
    """The highest figure that any attempt told, in bytes, by who measured it; None before the first step."""
    failure: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    waiting_because: Mapped[str | None] = mapped_column(Text)
    waiting_sentence: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    resume_from_attempt: Mapped[int | None] = mapped_column(Integer)
    trace_key: Mapped[str | None] = mapped_column(String(64), index=True)
    trace_unknown_because: Mapped[str | None] = mapped_column(Text)
    trace_unknown_sentence: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[float] = mapped_column(Float)
    assigned_at: Mapped[float | None] = mapped_column(Float)
    started_at: Mapped[float | None] = mapped_column(Float)
    finished_at: Mapped[float | None] = mapped_column(Float)


class AttemptRow(Base):
    """An attempt that was not a job's last: how it ended, before the job's own row began to tell of the next."""

    __tablename__ = "attempts"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    failure: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    machine: Mapped[str | None] = mapped_column(String(255))
    gpus: Mapped[list[str]] = mapped_column(JSON, default=list)
    step: Mapped[int] = mapped_column(Integer)
    total_steps: Mapped[int | None] = mapped_column(Integer)
    resume_from_attempt: Mapped[int | None] = mapped_column(Integer)
    started_at: Mapped[float | None] = mapped_column(Float)
    finished_at: Mapped[float] = mapped_column(Float)
