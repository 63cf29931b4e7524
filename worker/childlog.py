"""What the trainer prints: all of it into ``trainer.log``, a bounded part of it as log events."""

import contextlib
import re
import time
from collections import deque
from collections.abc import Callable
from os import SEEK_END
from pathlib import Path
from typing import Literal

Stream = Literal["stdout", "stderr"]

FILE = "trainer.log"
LINE_CHARACTERS = 2000
LINES_PER_SECOND = 50.0
BURST_LINES = 200
UNFINISHED_BYTES = 64 * 1024
LAST_LINES = 20
TAIL_BYTES = 16 * 1024

TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(raw: bytes) -> str:
    """A line as a terminal would show it in the end."""
    text = raw.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace").replace("\0", "")
    return TERMINAL_CODES.sub("", text).rstrip()


def last_lines(attempt_dir: Path) -> list[str]:
    """The end of what the processes of an attempt have printed so far; nothing where nobody keeps it."""
    try:
        with (attempt_dir / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, SEEK_END) - TAIL_BYTES))
            lines = [line for raw in file.read().split(b"\n") if (line := shown(raw))]
    except OSError:
        return []
    return [line[:LINE_CHARACTERS] for line in lines[-LAST_LINES:]]


class ChildLog:
    """Cuts bytes into lines and passes on at most LINES_PER_SECOND of them."""

    def __init__(
        self, path: Path, tell: Callable[[Stream, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = path.open("ab", buffering=0)
        self._tell = tell
        self._clock = clock
        self._unfinished: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self._allowance = float(BURST_LINES)
        self._seen_at = clock()
        self._left_out = 0
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    def feed(self, stream: Stream, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not take the worker down: the trainer itself reports it
            self._file.write(data)
        *lines, rest = (self._unfinished[stream] + data).split(b"\n")
        for line in lines:
            self._line(stream, line)
        if len(rest) > UNFINISHED_BYTES:  # no line end in sight: a progress bar redraws with \r, binary data has none
            if b"\r" not in rest:
                self._line(stream, rest)
            rest = rest.rpartition(b"\r")[2][-UNFINISHED_BYTES:] if b"\r" in rest else b""
        self._unfinished[stream] = rest

    def close(self) -> None:
        """Pass on what had no line end, and how many lines were left out."""
        for stream, rest in self._unfinished.items():
            if rest:
                self._line(stream, rest)
        self._say_left_out()
        self._file.close()

    def _line(self, stream: Stream, raw: bytes) -> None:
        text = shown(raw)
        if not text:
            return
        if len(text) > LINE_CHARACTERS:
            text = f"{text[:LINE_CHARACTERS]} … ({len(text) - LINE_CHARACTERS} more characters in trainer.log)"
        self.last_lines.append(text)
        now = self._clock()
        self._allowance = min(BURST_LINES, self._allowance + (now - self._seen_at) * LINES_PER_SECOND)
        self._seen_at = now
        if self._allowance < 1:
            self._left_out += 1
            return
        self._allowance -= 1
        self._say_left_out()
        self._tell(stream, text)

    def _say_left_out(self) -> None:
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self._tell("stderr", f"({count} lines left out here: too many at once; trainer.log has them all)")
