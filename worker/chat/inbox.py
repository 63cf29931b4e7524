"""Messages on their way to a chat's process: a file each, put there by the worker, looked for by number.

A message that comes twice is the same file, and one that is missing is waited for, until the controller has sent it again.
"""

from pathlib import Path

from tunescope.wire import ChatMessage

FOLDER = "messages"


class Inbox:
    """The messages of one attempt, from either side."""

    def __init__(self, attempt_dir: Path) -> None:
        self._folder = attempt_dir / FOLDER

    def put(self, message: ChatMessage) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f"{message.number}.part"
        unfinished.write_text(message.model_dump_json())
        unfinished.replace(self._of(message.number))

    def take(self, number: int) -> ChatMessage | None:
        """The message of a number; None while it is not here."""
        try:
            return ChatMessage.model_validate_json(self._of(number).read_bytes())
        except FileNotFoundError:
            return None

    def stop(self, number: int) -> None:
        """Ask for the end of the answer to a message, whether or not it has begun."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stop_of(number).touch()

    def stopped(self, number: int) -> bool:
        return self._stop_of(number).exists()

    def _of(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _stop_of(self, number: int) -> Path:
        return self._folder / f"{number}.stop"
