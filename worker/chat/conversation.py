"""What was said so far, and what of it a message is asked with."""

from dataclasses import dataclass, field

from tunescope.wire import ChatMessage
from worker.speech import Asked


@dataclass(frozen=True)
class Turn:
    number: int
    asked: str
    answer: str


@dataclass
class Conversation:
    """``template``: whether the model has one for chats; without, each text is continued for itself."""

    template: bool
    turns: list[Turn] = field(default_factory=list[Turn])

    def asked(self, message: ChatMessage) -> Asked:
        """Everything that stands before the answer to ``message``."""
        if not self.template:
            return message.text
        system = [("system", message.system)] if message.system else []
        said = [part for turn in self._before(message) for part in (("user", turn.asked), ("assistant", turn.answer))]
        return [{"role": role, "content": text} for role, text in (*system, *said, ("user", message.text))]

    def answered(self, message: ChatMessage, answer: str) -> None:
        """Go on from this answer; one that was asked for again is only compared with the first."""
        if message.again_of is None:
            self.turns.append(Turn(message.number, message.text, answer))

    def _before(self, message: ChatMessage) -> list[Turn]:
        return [turn for turn in self.turns if turn.number < (message.again_of or message.number)]
