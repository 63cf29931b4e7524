"""Which part of a step runs, for how long, and the memory seen in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunescope.events import PhaseMemory
from tunescope.memory.trace import Phase
from tunescope.sentences import Sentence, say
from worker.probes.reading import Bytes, Unknown
from worker.trainer.meter.stopwatch import HostStopwatch, Stopwatch

TOO_SHORT = say("phase_too_short")


@dataclass
class Seen:
    """What one source said within one phase of a step, in bytes."""

    peak: int | None = None
    total: int = 0
    count: int = 0
    unknown: Sentence | None = None

    def add(self, value: Bytes) -> None:
        if isinstance(value, Unknown):
            self.unknown = value.sentence
            return
        self.raise_peak(value)
        self.total += value
        self.count += 1

    def raise_peak(self, value: int) -> None:
        """A peak that somebody kept exactly, between samples."""
        self.peak = value if self.peak is None else max(self.peak, value)


class Phases:
    """The phases of the step at hand. One thread enters them, another may call ``heard``."""

    def __init__(self, stopwatch: Stopwatch | None = None) -> None:
        self._stopwatch = stopwatch or HostStopwatch()
        self._marks: list[tuple[Phase, Any]] = []
        self._seen: dict[tuple[Phase, str], Seen] = {}
        self.phase: Phase = "data"

    def begin(self, phase: Phase = "data") -> None:
        """Start a new step in ``phase``; what was seen before is forgotten."""
        self._seen = {}
        self._marks = []
        self.enter(phase)

    def enter(self, phase: Phase) -> None:
        """Leave the phase at hand for ``phase``, which may have been left before."""
        self.phase = phase
        self._marks.append((phase, self._stopwatch.mark()))

    def seen(self, source: str, phase: Phase | None = None) -> Seen:
        return self._seen.setdefault((phase or self.phase, source), Seen())

    def heard(self, source: str, value: Bytes) -> None:
        """A sample; it belongs to the phase in which it was taken."""
        self.seen(source).add(value)

    def peak(self, source: str) -> int | None:
        """The highest value of a source in any phase of the step."""
        peaks = [seen.peak for (_, name), seen in list(self._seen.items()) if name == source and seen.peak is not None]
        return max(peaks, default=None)

    def settle(self) -> None:
        """Wait until all that was begun so far is done."""
        self._stopwatch.settle(self._stopwatch.mark())

    def seconds(self) -> dict[Phase, float]:
        """Time of each phase until now, in the order of its first entry; all stretches of a phase together."""
        end = self._stopwatch.mark()
        self._stopwatch.settle(end)
        totals: dict[Phase, float] = {}
        laters = [mark for _, mark in self._marks[1:]] + [end]
        for (phase, earlier), later in zip(self._marks, laters, strict=True):
            totals[phase] = totals.get(phase, 0.0) + self._stopwatch.seconds(earlier, later)
        return totals

    def told(self, sources: Sequence[str]) -> list[PhaseMemory]:
        """Every phase with what each of ``sources`` said in it."""
        return [
            phase_memory(phase, seconds, source, self.seen(source, phase))
            for phase, seconds in self.seconds().items()
            for source in sources
        ]


def phase_memory(phase: Phase, seconds: float, source: str, seen: Seen) -> PhaseMemory:
    unknown = None if seen.peak is not None else seen.unknown or TOO_SHORT
    return PhaseMemory(
        phase=phase,
        seconds=seconds,
        source=source,
        peak_bytes=seen.peak,
        mean_bytes=seen.total // seen.count if seen.count else None,
        unknown_because=unknown.text if unknown else None,
        unknown_sentence=unknown,
    )
