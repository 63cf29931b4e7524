"""A measured figure, or why there is none. Unknown is never told as 0."""

from dataclasses import dataclass, field

from tunescope.events import MemoryFigure
from tunescope.sentences import Sentence


@dataclass(frozen=True)
class Unknown:
    """A figure that cannot be had, and why."""

    sentence: Sentence
    code: int | None = field(default=None, compare=False)
    """The error code behind it, where a library gave one."""

    @property
    def because(self) -> str:
        """Why, in words for a person."""
        return self.sentence.text


Bytes = int | Unknown


def figure(source: str, value: Bytes, peak: Bytes | None = None) -> MemoryFigure:
    """A MemoryFigure of ``value`` bytes; ``peak`` is the highest value within the step, where that is known."""
    if isinstance(value, Unknown):
        return MemoryFigure(source=source, unknown_because=value.because, unknown_sentence=value.sentence)
    return MemoryFigure(source=source, bytes=value, peak_bytes=peak if isinstance(peak, int) else None)
