"""Messages on their way to the workers. The row is the truth: what a worker has not taken is sent again in each round."""

from collections import defaultdict

import redis
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from backend.chats.tables import ChatMessageRow
from backend.jobs.tables import CHAT, JobRow
from tunescope import wire
from tunescope.states import JobState
from tunescope.wire import ChatMessage, Control


def message_of(row: ChatMessageRow) -> ChatMessage:
    return ChatMessage.model_validate({**row.said, "number": row.number})


def untold(session: Session) -> list[tuple[str, Control]]:
    """What running chats have not been told yet, each with its machine."""
    pending = or_(ChatMessageRow.taken.is_(False), and_(ChatMessageRow.stopped, ChatMessageRow.ended.is_(False)))
    statement = (
        select(ChatMessageRow, JobRow.machine, JobRow.attempt)
        .join(JobRow, JobRow.id == ChatMessageRow.job)
        .where(JobRow.task == CHAT, JobRow.state == JobState.RUNNING, pending)
        .order_by(ChatMessageRow.job, ChatMessageRow.number)
    )
    rows: defaultdict[tuple[str, str, int], list[ChatMessageRow]] = defaultdict(list)
    for row, machine, attempt in session.execute(statement):
        rows[machine or "", row.job, attempt].append(row)
    return [
        (
            machine,
            Control(
                job=job,
                attempt=attempt,
                action="chat",
                messages=[message_of(row) for row in found if not row.taken],
                stopped=[row.number for row in found if row.stopped],
            ),
        )
        for (machine, job, attempt), found in rows.items()
    ]


def deliver(session: Session, connection: "redis.Redis") -> None:
    """Send what is untold. Raises RedisError."""
    for machine, message in untold(session):
        connection.publish(wire.control(machine), message.model_dump_json())
