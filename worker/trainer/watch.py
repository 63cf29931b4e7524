"""Climbs of memory, seen while they happen: pure rules over the figures of each step. No clocks, no devices.

Users of every trainer ask why VRAM rises for hundreds of steps and then ends the job. The answers have names: a longer row
than ever before, an allocator that gives blocks back and asks again, holes between blocks, another process.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tunescope.sentences import Sentence, say
from tunescope.units import MIB

Code = Literal["length_outlier", "fragmentation", "allocator_retry", "rising", "other_process", "nearly_full"]

WARM_UP_STEPS = 3
"""Until then optimizer states and workspaces appear for the first time: growth says nothing."""
WINDOW = 50
"""Steps over which a trend is judged."""
LEAST_POINTS = 10
QUIET_STEPS = 100
"""A warning of one kind is not repeated within so many steps."""
OUTLIER = 1.5
"""A row is an outlier from this many times the longest row before it …"""
OUTLIER_TOKENS = 64
"""… if it is also longer by this many tokens."""
HOLES = 0.2
"""Share of the reserved bytes that may be holes: fixed lengths leave 5 to 15 %."""
HORIZON_STEPS = 500
"""A rising trend is told if it would fill the device within so many steps."""
NEARLY_FULL = 0.03
"""Share of the device below which the next larger tensor may be one too many."""
LEAST_GROWTH = 64 * MIB
"""Growth below this over a window is noise."""


@dataclass(frozen=True)
class StepFacts:
    """One step as the rules see it, in bytes; None where it is unknown.

    ``used`` is what this job needs (torch's allocated peak on a GPU, resident memory on the CPU), ``others`` what other
    processes hold on the same device.
    """

    step: int
    longest_tokens: int | None = None
    allocated_peak: int | None = None
    reserved: int | None = None
    retries: int | None = None
    used: int | None = None
    others: int | None = None
    device_used: int | None = None
    device_total: int | None = None


@dataclass(frozen=True)
class Finding:
    """Something to tell, and whether it says that the device will be full soon."""

    code: Code
    step: int
    sentence: Sentence
    figures: dict[str, float]
    exhausting: bool = False

    @property
    def message(self) -> str:
        return self.sentence.text


@dataclass
class Watch:
    """Feed every step in order; each returns what is to be told now."""

    _longest: int = 0
    _steps: int = 0
    _retries: int | None = None
    _others: int | None = None
    _history: deque[tuple[int, int]] = field(default_factory=lambda: deque[tuple[int, int]](maxlen=WINDOW))
    _gaps: deque[int] = field(default_factory=lambda: deque[int](maxlen=WINDOW))
    _told: dict[Code, Finding] = field(default_factory=dict[Code, Finding])

    def step(self, facts: StepFacts) -> list[Finding]:
        self._steps += 1
        found = [
            self._length_outlier(facts),
            self._allocator_retry(facts),
            self._fragmentation(facts),
            self._other_process(facts),
            self._rising(facts),
            self._nearly_full(facts),
        ]
        fresh = [item for item in found if item is not None and self._is_news(item)]
        for item in fresh:
            self._told[item.code] = item
        return fresh

    def _is_news(self, item: Finding) -> bool:
        before = self._told.get(item.code)
        if before is None or item.code == "length_outlier":
            return True
        return item.step - before.step >= QUIET_STEPS or (item.exhausting and not before.exhausting)

    def _length_outlier(self, facts: StepFacts) -> Finding | None:
        length, before = facts.longest_tokens, self._longest
        if length is None:
            return None
        self._longest = max(before, length)
        if self._steps <= WARM_UP_STEPS or length < OUTLIER * before or length < before + OUTLIER_TOKENS:
            return None
        message = say("length_outlier", step=facts.step, tokens=length, before_tokens=before)
        return Finding("length_outlier", facts.step, message, {"tokens": length, "tokens_before": before})

    def _allocator_retry(self, facts: StepFacts) -> Finding | None:
        if facts.retries is None:
            return None
        before, self._retries = self._retries, facts.retries
        more = facts.retries - (before or 0)
        if more <= 0:
            return None
        message = say("allocator_retries" if more > 1 else "allocator_retry", step=facts.step, retries=more)
        return Finding("allocator_retry", facts.step, message, {"retries": more, "retries_in_all": facts.retries})

    def _fragmentation(self, facts: StepFacts) -> Finding | None:
        if facts.reserved is None or facts.allocated_peak is None:
            return None
        gap = facts.reserved - facts.allocated_peak
        self._gaps.append(gap)
        if self._steps <= WARM_UP_STEPS or gap < HOLES * facts.reserved or gap - min(self._gaps) < LEAST_GROWTH:
            return None
        message = say(
            "fragmentation",
            step=facts.step,
            reserved_bytes=facts.reserved,
            needed_bytes=facts.allocated_peak,
            gap_bytes=gap,
        )
        figures: dict[str, float] = {"gap": gap, "reserved": facts.reserved, "allocated_peak": facts.allocated_peak}
        return Finding("fragmentation", facts.step, message, figures)

    def _other_process(self, facts: StepFacts) -> Finding | None:
        if facts.others is None:
            return None
        lowest = facts.others if self._others is None else min(self._others, facts.others)
        grown = facts.others - lowest
        self._others = lowest
        room = free_bytes(facts)
        if grown < LEAST_GROWTH or (room is not None and room > 4 * grown):
            return None
        if room is None:
            message = say("other_process", grown_bytes=grown, others_bytes=facts.others)
        else:
            message = say("other_process_leaves", grown_bytes=grown, others_bytes=facts.others, free_bytes=room)
        figures: dict[str, float] = {"others": facts.others, "grown": grown}
        if room is not None:
            figures["free"] = room
        return Finding("other_process", facts.step, message, figures, exhausting=room is not None and room < grown)

    def _rising(self, facts: StepFacts) -> Finding | None:
        if facts.used is None or self._steps <= WARM_UP_STEPS:
            return None
        self._history.append((facts.step, facts.used))
        room = free_bytes(facts)
        if room is None or len(self._history) < LEAST_POINTS:
            return None
        slope = slope_of(self._history)
        grown = facts.used - self._history[0][1]
        if slope <= 0 or grown < LEAST_GROWTH or not keeps_rising(self._history):
            return None
        left = room / slope
        if left > HORIZON_STEPS:
            return None
        message = say("rising", step_bytes=int(slope), since=self._history[0][0], steps=int(left))
        figures = {"bytes_a_step": slope, "free": room, "steps_left": left}
        return Finding("rising", facts.step, message, figures, exhausting=left < WINDOW)

    def _nearly_full(self, facts: StepFacts) -> Finding | None:
        room = free_bytes(facts)
        if room is None or not facts.device_total or room >= NEARLY_FULL * facts.device_total:
            return None
        message = say("nearly_full", free_bytes=room, total_bytes=facts.device_total, step=facts.step)
        return Finding("nearly_full", facts.step, message, {"free": room, "total": facts.device_total})


def free_bytes(facts: StepFacts) -> int | None:
    """What the device has left for this job: free bytes, and the allocator's cache, which it gives back when it must."""
    if facts.device_total is None or facts.device_used is None:
        return None
    cached = (facts.reserved or 0) - (facts.allocated_peak or 0) if facts.reserved and facts.allocated_peak else 0
    return max(0, facts.device_total - facts.device_used) + max(0, cached)


def slope_of(points: Sequence[tuple[int, int]]) -> float:
    """Bytes a step, by least squares."""
    count = len(points)
    middle_step = sum(step for step, _ in points) / count
    middle = sum(value for _, value in points) / count
    spread = sum((step - middle_step) ** 2 for step, _ in points)
    return sum((step - middle_step) * (value - middle) for step, value in points) / spread if spread else 0.0


def keeps_rising(points: Sequence[tuple[int, int]]) -> bool:
    """Whether the last quarter reached higher than all before: one jump long ago is no trend."""
    values = [value for _, value in points]
    cut = len(values) - max(2, len(values) // 4)
    return max(values[cut:]) > max(values[:cut]) and values[cut] >= values[len(values) // 2]
