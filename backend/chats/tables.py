"""Chats with what a job trained. Each is a row of ``jobs`` as well, whose ``task`` is "chat": it takes its place on a machine like any job."""

from typing import Any

from sqlalchemy import JSON, Boolean, Float, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from backend.database import Base


class ChatRow(Base):
    __tablename__ = "chats"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    result_of: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    """The training whose result answers."""
    result: Mapped[str] = mapped_column(String(300))
    """Its files: a path below the data directory."""
    context_tokens: Mapped[int] = mapped_column(Integer)
    idle_seconds: Mapped[float] = mapped_column(Float)


class ChatMessageRow(Base):
    __tablename__ = "chat_messages"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    said: Mapped[dict[str, Any]] = mapped_column(JSON)
    """A ``wire.ChatMessage`` without its number."""
    at: Mapped[float] = mapped_column(Float)
    taken: Mapped[bool] = mapped_column(Boolean, default=False)
    """The worker has it: it need not be sent again."""
    stopped: Mapped[bool] = mapped_column(Boolean, default=False)
    """Somebody has asked for the end of its answer."""
    ended: Mapped[bool] = mapped_column(Boolean, default=False)
    """Its answer is there."""
