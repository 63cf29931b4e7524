"""Messages of chats follow what the workers tell: which were taken and answered."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from backend.chats.tables import ChatMessageRow
from tunescope.events import ChatAnswerEvent, ChatReadyEvent, ChatTakenEvent

ChatEvent = ChatReadyEvent | ChatTakenEvent | ChatAnswerEvent


def follow_messages(session: Session, event: ChatEvent) -> None:
    if isinstance(event, ChatTakenEvent):
        change = {"taken": True}
    elif isinstance(event, ChatAnswerEvent) and event.ended:
        change = {"taken": True, "ended": True}
    else:
        return
    mine = (ChatMessageRow.job == event.job, ChatMessageRow.number == event.number)
    session.execute(
        update(ChatMessageRow).where(*mine).values(**change), execution_options={"synchronize_session": False}
    )
