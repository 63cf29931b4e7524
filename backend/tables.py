"""Imports every domain's tables once: what alembic and the tests see."""

from backend.chats.tables import ChatMessageRow, ChatRow
from backend.database import Base
from backend.datasets.tables import DatasetRow
from backend.jobs.tables import JobRow
from backend.measured.tables import AccuracyRow
from backend.merges.tables import MergeRow
from backend.models.tables import ModelRow
from backend.telemetry.tables import EventRow, StepRow, TierRow
from backend.traces.tables import TraceRow
from backend.users.tables import SecretRow, UserRow

__all__ = [
    "AccuracyRow",
    "Base",
    "ChatMessageRow",
    "ChatRow",
    "DatasetRow",
    "EventRow",
    "JobRow",
    "MergeRow",
    "ModelRow",
    "SecretRow",
    "StepRow",
    "TierRow",
    "TraceRow",
    "UserRow",
]
