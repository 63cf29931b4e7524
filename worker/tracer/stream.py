"""The stream of a run's first steps, put together from one traced step, and what it says: peak, sites, timeline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tunescope.memory.allocator import Change
from tunescope.memory.ledger import Category
from tunescope.memory.trace import TracePoint
from worker.tracer.follower import Event
from worker.tracer.moments import MIDDLE

TIMELINE_POINTS = 600


@dataclass
class Recording:
    """One traced run: the load, the micro batches of a step, and its optimizer step with and without making states.

    ``gradients`` and ``stand_ins`` are, parameter by parameter, the ids of the gradients that the micro batches left and
    of those that the second optimizer step was traced with.
    """

    load: list[Event]
    batches: list[Event]
    first_update: list[Event]
    update: list[Event]
    gradients: list[int]
    stand_ins: list[int]
    largest_loading_bytes: int

    def first_step(self) -> list[Event]:
        return self.batches + self.first_update

    def steady_step(self, number: int) -> list[Event]:
        """A later step: the same births under new ids, but for what the first step left alive for good."""
        shift = number * self._highest()
        freed = {event.uid for event in self.first_step() if event.kind == "free"}
        born = {event.uid for event in self.batches if event.kind == "malloc" and event.uid in freed}
        again = [event._replace(uid=event.uid + shift) for event in self.batches if event.uid in born]
        renamed = {stand_in: uid + shift for stand_in, uid in zip(self.stand_ins, self.gradients, strict=True)}
        made = {event.uid for event in self.update if event.kind == "malloc"}
        renamed |= {uid: uid + shift for uid in made}
        if number > 1:
            renamed |= {old: new + shift - self._highest() for old, new in self._replaced(made).items()}
        return again + [event._replace(uid=renamed.get(event.uid, event.uid)) for event in self.update]

    def _replaced(self, made: set[int]) -> dict[int, int]:
        """States that an update lets go of, and those it makes in their place (Adafactor's RMS), in order."""
        freed = [event.uid for event in self.update if event.kind == "free"]
        gone = [uid for uid in freed if uid not in made and uid not in self.stand_ins]
        kept = sorted(made.difference(freed))
        return dict(zip(gone, kept, strict=True))

    def _highest(self) -> int:
        return 1 + max(
            event.uid for part in (self.load, self.batches, self.first_update, self.update) for event in part
        )


def changes(events: Iterable[Event]) -> list[Change]:
    """What the allocator sees of the events."""
    return [
        (event.uid if event.kind == "malloc" else -event.uid, event.bytes) for event in events if event.kind != "retag"
    ]


@dataclass
class Account:
    """Live bytes through a stretch of events. ``before`` are the events that made what lives when it begins."""

    peak: int = 0
    peak_event: Event | None = None
    ledger: dict[Category, int] = field(default_factory=dict)
    sites: dict[str, int] = field(default_factory=dict)
    timeline: list[TracePoint] = field(default_factory=list)


def account(before: Sequence[Event], events: Sequence[Event]) -> Account:
    """Highest live bytes of ``events``: in all, by site, by category at the peak, and along the stretch."""
    known = _known_from_birth([*before, *events])
    start, live = _start(before, known)
    totals = _totals(sum(start.values()), events)
    found = Account()
    best = max(range(len(events)), key=totals.__getitem__)
    found.peak, found.peak_event = totals[best], events[best]
    found.sites = _sites(sum(start.values()), totals, events)
    span = -(-len(events) // TIMELINE_POINTS)
    shown = {
        max(range(first, min(first + span, len(events))), key=totals.__getitem__)
        for first in range(0, len(events), span)
    }
    _walk(found, start, live, events, known, best, shown)
    return found


def highest_live(before: int, events: Sequence[Event]) -> int:
    """Highest live bytes of ``events``, which begin with ``before`` of them."""
    return max(_totals(before, events))


def _known_from_birth(events: Iterable[Event]) -> dict[int, Category]:
    return {event.uid: event.category for event in events if event.kind == "retag" and event.since_birth}


def _start(before: Iterable[Event], known: dict[int, Category]) -> tuple[dict[Category, int], dict[int, Category]]:
    """Bytes by category, and the category of each live storage, when the stretch begins."""
    ledger: dict[Category, int] = {}
    live: dict[int, Category] = {}
    for event in before:
        _apply(event, ledger, live, known)
    return ledger, live


def _apply(event: Event, ledger: dict[Category, int], live: dict[int, Category], known: dict[int, Category]) -> None:
    if event.kind == "malloc":
        category = live[event.uid] = known.get(event.uid, event.category)
        ledger[category] = ledger.get(category, 0) + event.bytes
    elif event.kind == "free":
        ledger[live.pop(event.uid)] -= event.bytes
    elif not event.since_birth:
        ledger[live[event.uid]] -= event.bytes
        live[event.uid] = event.category
        ledger[event.category] = ledger.get(event.category, 0) + event.bytes


def _totals(start: int, events: Iterable[Event]) -> list[int]:
    totals: list[int] = []
    for event in events:
        start += event.bytes if event.kind == "malloc" else -event.bytes if event.kind == "free" else 0
        totals.append(start)
    return totals


def _sites(start: int, totals: Sequence[int], events: Sequence[Event]) -> dict[str, int]:
    """A site's bytes include what was live when it began."""
    sites: dict[str, int] = {}
    before, site = start, ""
    for total, event in zip(totals, events, strict=True):
        if event.site != site:
            site = event.site
            sites[site] = max(before, sites.get(site, 0))
        if total > sites[site]:
            sites[site] = total
        before = total
    return sites


def _walk(
    found: Account, ledger: dict[Category, int], live: dict[int, Category], events: Sequence[Event],
    known: dict[int, Category], best: int, shown: set[int],
) -> None:  # fmt: skip
    for index, event in enumerate(events):
        _apply(event, ledger, live, known)
        if index == best:
            found.ledger = {name: count for name, count in ledger.items() if count}
        if index in shown:
            found.timeline.append(
                TracePoint(
                    phase=event.phase, bytes_by_category={str(name): count for name, count in ledger.items() if count}
                )
            )


def closed_form_sites(sites: dict[str, int], end_of_backward: int) -> tuple[dict[str, int], str]:
    """The sites of the closed form, and which of them stands for the layers between (the higher end)."""
    named = {name: count for name, count in sites.items() if name != MIDDLE}
    named.setdefault("layer_backward_last", named.get("layer_backward_first", end_of_backward))
    named.setdefault("layer_backward_first", named["layer_backward_last"])
    named.setdefault("embedding_backward", end_of_backward)
    higher = max(("layer_backward_last", "layer_backward_first"), key=named.__getitem__)
    named[higher] = max(named[higher], sites.get(MIDDLE, 0))
    return named, higher
