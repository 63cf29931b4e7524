"""Memory over time within one followed step, from the follower's events."""

import time
from collections.abc import Iterable, Sequence

from tunescope.events import AnatomyPoint
from tunescope.memory.ledger import Category
from tunescope.memory.trace import Phase
from worker.tracer.follower import Event

MOST_POINTS = 600


class TimedEvents(list[Event]):
    """The follower's record, with the moment of each event."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def append(self, event: Event) -> None:
        super().append(event)
        self.times.append(time.perf_counter())


def born_as(events: Iterable[Event]) -> dict[int, Category]:
    """Storages whose category was found out later, such as a gradient, by uid: they were that from their birth on."""
    return {event.uid: event.category for event in events if event.kind == "retag" and event.since_birth}


class Span:
    """The highest moment of a stretch of time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.phase: Phase = "data"
        self.total = -1
        self.bytes: dict[str, int] = {}


def anatomy(
    events: Sequence[Event], times: Sequence[float], began: float, ended: float, first: int, points: int = MOST_POINTS
) -> list[AnatomyPoint]:
    """At most ``points`` points of the events from index ``first`` on; those before it say what lived already.

    The step is cut into equal stretches of time, and each of them where a phase ends; each piece is told by its highest
    moment, so the step's peak is among them, and every phase. With very many phases only the stretches are left.
    """
    truly = born_as(events)
    category: dict[int, Category] = {}
    live: dict[str, int] = {}
    spans: dict[tuple[int, int], Span] = {}
    total, pieces = 0, 0
    phase: Phase | None = None
    stretches = max(1, points // 2)
    width = max(ended - began, 1e-9) / stretches
    for index, event in enumerate(events):
        if event.kind == "malloc":
            category[event.uid] = truly.get(event.uid, event.category)
            live[category[event.uid]] = live.get(category[event.uid], 0) + event.bytes
            total += event.bytes
        elif event.kind == "free":
            live[category.pop(event.uid)] -= event.bytes
            total -= event.bytes
        elif not event.since_birth:
            live[category[event.uid]] -= event.bytes
            category[event.uid] = event.category
            live[event.category] = live.get(event.category, 0) + event.bytes
        if index < first:
            continue
        if event.phase != phase:
            phase, pieces = event.phase, pieces + 1
        span = spans.setdefault((min(stretches - 1, int((times[index] - began) / width)), pieces), Span())
        if total > span.total:
            span.seconds, span.phase, span.total = times[index] - began, event.phase, total
            span.bytes = {name: count for name, count in live.items() if count}
    kept = [span for _, span in sorted(spans.items(), key=lambda item: item[0])]
    if len(kept) > points:
        highest: dict[int, Span] = {}
        for (stretch, _), span in spans.items():
            if stretch not in highest or span.total > highest[stretch].total:
                highest[stretch] = span
        kept = [highest[stretch] for stretch in sorted(highest)]
    return [AnatomyPoint(seconds=span.seconds, phase=span.phase, bytes_by_category=span.bytes) for span in kept]
