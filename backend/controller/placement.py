"""Which queued job goes where. Pure: no SQL, no Redis, no clock.

Order: higher priority first, then the user with fewer jobs at work, then first come first served.
A GPU belongs to one job at a time, or to several that share it while what is reserved for all of them fits beside what other
programs hold. Where a machine has none, it trains one job at a time on its CPU, and only if no machine has GPUs.
What takes no GPU goes beside those that do, one a machine, where main memory suffices.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backend.controller.room import Assignment, Busy, Room, Waiting
from tunescope.sentences import Sentence
from tunescope.wire import MachineReport

__all__ = ["Assignment", "Busy", "Plan", "Waiting", "place"]


@dataclass
class Plan:
    """What to start now, and for every other job why it waits."""

    assignments: list[Assignment] = field(default_factory=list[Assignment])
    reasons: dict[str, Sentence] = field(default_factory=dict[str, Sentence])


def place(waiting: Sequence[Waiting], machines: Iterable[MachineReport], busy: Sequence[Busy]) -> Plan:
    """Assign what fits now, in order; say of the rest why it waits."""
    plan = Plan()
    room = Room(machines, busy)
    at_work = Counter(item.owner for item in busy)
    left = list(waiting)
    while left:
        job = min(left, key=lambda item: (-item.priority, at_work[item.owner], item.created_at, item.job))
        left.remove(job)
        assignment = room.take(job)
        if assignment:
            plan.assignments.append(assignment)
            at_work[job.owner] += 1
        else:
            plan.reasons[job.job] = room.reason(job)
            room.hold(job)
    return plan
