"""What is still to be had on the connected machines while a plan is made. Pure: no SQL, no Redis, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass

from tunescope.sentences import Sentence, say
from tunescope.wire import NO_GPU_DRIVER, GpuReport, MachineReport


@dataclass(frozen=True)
class Waiting:
    """A queued job. ``need_bytes`` is what it needs on each GPU, margin included; None where that is unknown.

    Without a GPU (``gpus`` 0) that is main memory.
    """

    job: str
    owner: str
    priority: int
    created_at: float
    need_bytes: int | None
    gpus: int = 1
    shares: bool = False
    """Whether it may train beside others that share, too."""


@dataclass(frozen=True)
class Busy:
    """A job at work; ``gpus`` is empty where it has none. ``reserve_bytes`` is kept for it on each GPU."""

    owner: str
    machine: str
    gpus: tuple[str, ...]
    job: str = ""
    reserve_bytes: int | None = None
    shares: bool = False


@dataclass(frozen=True)
class Assignment:
    job: str
    machine: str
    gpus: tuple[str, ...]


Place = tuple[str, str]
"""A machine's name and the UUID of a GPU there."""


def usable(gpu: GpuReport) -> bool:
    """Whether jobs can run on it: it is not lost, and not one whose MIG instances take its place."""
    return gpu.unusable_because is None and not gpu.divided


def large_enough(gpu: GpuReport, job: Waiting) -> bool:
    """Whether the whole of a GPU would do; unknown figures do not rule it out. CUDA joins no MIG instances into one job."""
    if job.gpus > 1 and gpu.parent is not None:
        return False
    return job.need_bytes is None or gpu.total_bytes is None or gpu.total_bytes >= job.need_bytes


def has_main_memory(machine: MachineReport, job: Waiting) -> bool:
    """Whether a machine has enough main memory free for a job that takes no GPU."""
    return job.need_bytes is None or machine.host_available_bytes >= job.need_bytes


def left_beside(gpu: GpuReport, tenants: Iterable[Busy]) -> int | None:
    """Bytes of a GPU that neither other programs hold nor its tenants may still claim; None where that is unknown.

    What a tenant holds is part of what is reserved for it, so it is not counted twice where the driver tells it.
    """
    there = {tenant.job: tenant.reserve_bytes for tenant in tenants}
    if gpu.free_bytes is None or None in there.values():
        return None
    held = {job: sum(item.used_bytes or 0 for item in gpu.processes if item.job == job) for job in there}
    claims = sum(max(0, (reserved or 0) - held[job]) for job, reserved in there.items())
    return max(0, gpu.free_bytes - claims)


class Room:
    """Machines and their tenants; ``take`` gives a place away."""

    def __init__(self, machines: Iterable[MachineReport], busy: Iterable[Busy]) -> None:
        self.machines = sorted(machines, key=lambda machine: machine.name)
        at_work = list(busy)
        self._tenants: dict[Place, list[Busy]] = {}
        for item in at_work:
            for uuid in item.gpus:
                self._tenants.setdefault((item.machine, uuid), []).append(item)
        self._held: set[Place] = set()
        self._occupied = {item.machine for item in at_work if not item.gpus}
        """Machines whose main memory is taken: by one job without a GPU at a time."""
        self._gpus = {machine.name: [gpu for gpu in machine.gpus if usable(gpu)] for machine in self.machines}
        self.faults = [fault for machine in self.machines for fault in faults_of(machine)]
        self.has_gpus = any(self._gpus.values())
        self._cpu_only = [
            machine.name
            for machine in self.machines
            if not machine.gpus and (machine.gpus_unknown_because or NO_GPU_DRIVER).startswith(NO_GPU_DRIVER)
        ]

    def take(self, job: Waiting) -> Assignment | None:
        if job.gpus == 0:
            able = [machine for machine in self.machines if has_main_memory(machine, job)]
            return self._take_main_memory(job, [machine.name for machine in able])
        if self.has_gpus:
            return self._take_gpus(job)
        if self.faults or job.gpus > 1:
            return None
        return self._take_main_memory(job, self._cpu_only)

    def _take_main_memory(self, job: Waiting, names: Iterable[str]) -> Assignment | None:
        for name in names:
            if name not in self._occupied:
                self._occupied.add(name)
                return Assignment(job.job, name, ())
        return None

    def hold(self, job: Waiting) -> None:
        """Keep the free GPUs of one machine for a job that needs several, so that smaller ones cannot starve it."""
        if job.gpus <= 1:
            return
        able = [
            name
            for name, gpus in self._gpus.items()
            if len([gpu for gpu in gpus if large_enough(gpu, job)]) >= job.gpus
        ]
        if able:
            best = max(able, key=lambda name: len(self._free(name, job)))
            self._held |= {(best, gpu.uuid) for gpu in self._free(best, job)}

    def _take_gpus(self, job: Waiting) -> Assignment | None:
        choices: list[tuple[int, int, int, str, list[GpuReport]]] = []
        for name in self._gpus:
            free = sorted(self._free(name, job), key=lambda gpu: self._rank(name, gpu))[: job.gpus]
            if len(free) == job.gpus:
                tenants = sum(len(self._tenants.get((name, gpu.uuid), ())) for gpu in free)
                unknown = sum(gpu.free_bytes is None for gpu in free)
                choices.append((unknown, tenants, sum(gpu.total_bytes or 0 for gpu in free), name, free))
        if not choices:
            return None
        # One whose room is known before one that did not tell; an empty GPU before a shared one; the smallest that fit, as
        # the large ones stay for jobs that need them.
        *_, name, chosen = min(choices, key=lambda choice: choice[:4])
        gpus = tuple(gpu.uuid for gpu in chosen)
        tenant = Busy(job.owner, name, gpus, job.job, job.need_bytes, job.shares)
        for uuid in gpus:
            self._tenants.setdefault((name, uuid), []).append(tenant)
        return Assignment(job.job, name, gpus)

    def _rank(self, name: str, gpu: GpuReport) -> tuple[bool, int, int, int, str]:
        tenants = len(self._tenants.get((name, gpu.uuid), ()))
        return gpu.free_bytes is None, tenants, gpu.total_bytes or 0, gpu.index, gpu.uuid

    def _open(self, place: Place, job: Waiting) -> bool:
        """Whether a GPU may be given to a job at all, memory aside."""
        tenants = self._tenants.get(place, [])
        return place not in self._held and (not tenants or (job.shares and all(tenant.shares for tenant in tenants)))

    def _has_room(self, place: Place, gpu: GpuReport, job: Waiting) -> bool:
        """Whether enough memory is left; on an empty GPU, unknown figures do not rule it out."""
        tenants = self._tenants.get(place, [])
        left = left_beside(gpu, tenants)
        if left is None or job.need_bytes is None:
            return not tenants
        return left >= job.need_bytes

    def _free(self, name: str, job: Waiting) -> list[GpuReport]:
        return [
            gpu
            for gpu in self._gpus[name]
            if self._open((name, gpu.uuid), job)
            and large_enough(gpu, job)
            and self._has_room((name, gpu.uuid), gpu, job)
        ]

    def reason(self, job: Waiting) -> Sentence:
        """Why ``job`` got no place."""
        if not self.machines:
            return say("no_worker")
        if job.gpus == 0:
            return self._reason_of_main_memory(job.need_bytes or 0)
        if not self.has_gpus:
            return self._reason_without_gpus(job)
        if max(len(gpus) for gpus in self._gpus.values()) < job.gpus:
            return say("too_few_gpus", gpus=job.gpus)
        every = [(name, gpu) for name, gpus in self._gpus.items() for gpu in gpus]
        need = job.need_bytes or 0
        if not any(large_enough(gpu, job) for _, gpu in every):
            largest = max(gpu.total_bytes or 0 for _, gpu in every)
            return say("no_gpu_large_enough", need_bytes=need, largest_bytes=largest)
        short = [
            (name, gpu)
            for name, gpu in every
            if large_enough(gpu, job)
            and self._open((name, gpu.uuid), job)
            and not self._has_room((name, gpu.uuid), gpu, job)
        ]
        if short:
            return self._reason_short(need, short)
        return say("fitting_gpus_in_use" if job.need_bytes else "gpus_in_use")

    def _reason_short(self, need: int, short: list[tuple[str, GpuReport]]) -> Sentence:
        left = [(left_beside(gpu, self._tenants.get((name, gpu.uuid), [])) or 0, name, gpu) for name, gpu in short]
        most, name, gpu = max(left, key=lambda item: item[0])
        kind = "held_by_jobs" if self._tenants.get((name, gpu.uuid)) else "held_by_others"
        return say(kind, need_bytes=need, free_bytes=most, index=gpu.index, machine=name)

    def _reason_of_main_memory(self, need: int) -> Sentence:
        largest = max(machine.host_total_bytes for machine in self.machines)
        if need > largest:
            return say("no_machine_large_enough", need_bytes=need, largest_bytes=largest)
        open_machines = [machine for machine in self.machines if machine.name not in self._occupied]
        if not open_machines:
            return say("main_memory_in_use")
        most = max(open_machines, key=lambda machine: machine.host_available_bytes)
        return say("main_memory_short", need_bytes=need, free_bytes=most.host_available_bytes, machine=most.name)

    def _reason_without_gpus(self, job: Waiting) -> Sentence:
        if self.faults:
            return say("gpus_cannot_be_used", faults=self.faults)
        if job.gpus > 1:
            return say("no_gpu_for_several", gpus=job.gpus)
        return say("cpu_in_use")


def faults_of(machine: MachineReport) -> list[Sentence]:
    """Why GPUs of a machine cannot be used."""
    because = machine.gpus_unknown_because
    if not machine.gpus:
        if not because or because.startswith(NO_GPU_DRIVER):
            return []
        return [say("machine_fault", machine=machine.name, because=machine.gpus_unknown_sentence or because)]
    found = [
        say("gpu_fault", machine=machine.name, index=gpu.index, because=gpu.unusable_sentence or gpu.unusable_because)
        for gpu in machine.gpus
        if gpu.unusable_because
    ]
    parents = {gpu.parent for gpu in machine.gpus}
    return found + [
        say("mig_without_instance", machine=machine.name, index=gpu.index)
        for gpu in machine.gpus
        if gpu.divided and gpu.uuid not in parents
    ]
