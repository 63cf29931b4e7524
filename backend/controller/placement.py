"""Which queued job goes where. Pure: no SQL, no Redis, no clock.

Order: higher priority first, then the user with fewer jobs at work, then first come first served.
A GPU belongs to one job at a time. Where a machine has none, it trains one job at a time on its CPU, and only if no machine has GPUs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tunescope.units import format_bytes
from tunescope.wire import NO_GPU_DRIVER, GpuReport, MachineReport


@dataclass(frozen=True)
class Waiting:
    """A queued job. ``need_bytes`` is what it needs on each GPU, margin included; None where that is unknown."""

    job: str
    owner: str
    priority: int
    created_at: float
    need_bytes: int | None
    gpus: int = 1


@dataclass(frozen=True)
class Busy:
    """A job at work; ``gpus`` is empty where it trains on the CPU."""

    owner: str
    machine: str
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Assignment:
    job: str
    machine: str
    gpus: tuple[str, ...]


@dataclass
class Plan:
    """What to start now, and for every other job why it waits."""

    assignments: list[Assignment] = field(default_factory=list[Assignment])
    reasons: dict[str, str] = field(default_factory=dict[str, str])


class Room:
    """What is still to be had on the connected machines while a plan is made."""

    def __init__(self, machines: Iterable[MachineReport], busy: Iterable[Busy]) -> None:
        self.machines = sorted(machines, key=lambda machine: machine.name)
        self.faults = [
            f"{machine.name}: {machine.gpus_unknown_because}"
            for machine in self.machines
            if not machine.gpus
            and machine.gpus_unknown_because
            and not machine.gpus_unknown_because.startswith(NO_GPU_DRIVER)
        ]
        at_work = list(busy)
        self.taken = {(item.machine, gpu) for item in at_work for gpu in item.gpus}
        self.occupied = {item.machine for item in at_work}
        self.with_gpus = [machine for machine in self.machines if machine.gpus]
        self.cpu_only = [
            machine
            for machine in self.machines
            if not machine.gpus and (machine.gpus_unknown_because or NO_GPU_DRIVER).startswith(NO_GPU_DRIVER)
        ]

    def take(self, job: Waiting) -> Assignment | None:
        if self.with_gpus:
            return self._take_gpus(job)
        if self.faults or job.gpus > 1:
            return None
        for machine in self.cpu_only:
            if machine.name not in self.occupied:
                self.occupied.add(machine.name)
                return Assignment(job.job, machine.name, ())
        return None

    def hold(self, job: Waiting) -> None:
        """Keep the free GPUs of one machine for a job that needs several, so that smaller ones cannot starve it."""
        if job.gpus == 1:
            return
        able = [
            machine
            for machine in self.with_gpus
            if len([gpu for gpu in machine.gpus if large_enough(gpu, job)]) >= job.gpus
        ]
        if able:
            best = max(able, key=lambda machine: len(self._free(machine, job)))
            self.taken |= {(best.name, gpu.uuid) for gpu in self._free(best, job)}

    def _take_gpus(self, job: Waiting) -> Assignment | None:
        choices: list[tuple[int, str, list[GpuReport]]] = []
        for machine in self.with_gpus:
            free = sorted(self._free(machine, job), key=lambda gpu: (gpu.total_bytes or 0, gpu.index))[: job.gpus]
            if len(free) == job.gpus:
                choices.append((sum(gpu.total_bytes or 0 for gpu in free), machine.name, free))
        if not choices:
            return None
        # The smallest that fit: the large ones stay for jobs that need them.
        _, name, chosen = min(choices, key=lambda choice: choice[:2])
        self.taken |= {(name, gpu.uuid) for gpu in chosen}
        return Assignment(job.job, name, tuple(gpu.uuid for gpu in chosen))

    def _free(self, machine: MachineReport, job: Waiting) -> list[GpuReport]:
        return [gpu for gpu in machine.gpus if (machine.name, gpu.uuid) not in self.taken and has_room(gpu, job)]

    def reason(self, job: Waiting) -> str:
        """Why ``job`` got no place."""
        if not self.machines:
            return "No worker is connected."
        if not self.with_gpus:
            return self._reason_without_gpus(job)
        if max(len(machine.gpus) for machine in self.with_gpus) < job.gpus:
            return f"It asks for {job.gpus} GPUs; no connected machine has so many."
        need = format_bytes(job.need_bytes or 0)
        if not any(large_enough(gpu, job) for machine in self.with_gpus for gpu in machine.gpus):
            largest = max(gpu.total_bytes or 0 for machine in self.with_gpus for gpu in machine.gpus)
            return f"It needs about {need} on a GPU; the largest connected one has {format_bytes(largest)}. See the advice on its estimate."
        unused = [
            gpu for machine in self.with_gpus for gpu in machine.gpus if (machine.name, gpu.uuid) not in self.taken
        ]
        short = [gpu for gpu in unused if large_enough(gpu, job) and not has_room(gpu, job)]
        if short:
            most = max(gpu.free_bytes or 0 for gpu in short)
            return f"It needs about {need} on a GPU; other programs leave {format_bytes(most)} free there."
        return "All GPUs that fit it are in use." if job.need_bytes else "All GPUs are in use."

    def _reason_without_gpus(self, job: Waiting) -> str:
        if self.faults:
            return f"The GPUs cannot be used. {'; '.join(self.faults)}."
        if job.gpus > 1:
            return f"It asks for {job.gpus} GPUs; no connected machine has one."
        return "Another job is training; a machine without a GPU trains one job at a time."


def large_enough(gpu: GpuReport, job: Waiting) -> bool:
    """Whether the whole of a GPU would do; unknown figures do not rule it out."""
    return job.need_bytes is None or gpu.total_bytes is None or gpu.total_bytes >= job.need_bytes


def has_room(gpu: GpuReport, job: Waiting) -> bool:
    """Whether a GPU has enough free memory now; unknown figures do not rule it out."""
    return large_enough(gpu, job) and (
        job.need_bytes is None or gpu.free_bytes is None or gpu.free_bytes >= job.need_bytes
    )


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
