"""Merges of what jobs trained. Each is a row of ``jobs`` as well, whose ``task`` is "merge"; a job has one at most."""

from sqlalchemy import BigInteger, ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from backend.database import Base


class MergeRow(Base):
    __tablename__ = "merges"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    result_of: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    """The training whose adapter is merged."""
    of_attempt: Mapped[int] = mapped_column(Integer)
    """The training's attempt that left the adapter."""
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Main memory that it takes, about; None where the model is not known here."""
