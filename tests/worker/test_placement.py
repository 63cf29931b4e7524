"""Placement: properties that hold for any queue on any machines, and the reasons people read."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from backend.controller.placement import Busy, Waiting, place
from backend.jobs.reservation import highest, reserve
from tests.api.make import step
from tunescope.events import MemoryFigure
from tunescope.sentences import say
from tunescope.units import GIB
from tunescope.wire import NO_GPU_DRIVER, GpuProcess, GpuReport, MachineReport


def gpu(uuid: str, total: int | None = 24, free: int | None = 24) -> GpuReport:
    size = [None if value is None else value * GIB for value in (total, free)]
    return GpuReport(uuid=uuid, index=0, name="A GPU", total_bytes=size[0], free_bytes=size[1])


def machine(name: str, *gpus: GpuReport, because: str | None = None) -> MachineReport:
    return MachineReport(
        name=name,
        at=0,
        gpus=list(gpus),
        gpus_unknown_because=because or (None if gpus else NO_GPU_DRIVER),
        host_total_bytes=GIB,
        host_available_bytes=GIB,
        cpu_count=2,
    )


def job(
    name: str,
    need: int | None = 8,
    owner: str = "ann",
    priority: int = 0,
    at: float = 0,
    gpus: int = 1,
    shares: bool = False,
) -> Waiting:
    return Waiting(name, owner, priority, at, None if need is None else need * GIB, gpus, shares)


def tenant(name: str, uuid: str, reserve_gib: int, shares: bool = True) -> Busy:
    return Busy("bob", "m", (uuid,), name, reserve_gib * GIB, shares)


def holding(device: GpuReport, **jobs: int) -> GpuReport:
    """A GPU whose jobs hold this many GiB of what is used."""
    held = [GpuProcess(pid=number, job=name, used_bytes=size * GIB) for number, (name, size) in enumerate(jobs.items())]
    return device.model_copy(update={"processes": held})


sizes = st.one_of(st.none(), st.sampled_from([8, 24, 80]))


@st.composite
def machines_of(draw: st.DrawFn) -> list[MachineReport]:
    found: list[MachineReport] = []
    for index in range(draw(st.integers(0, 3))):
        gpus = [
            gpu(f"{index}-{number}", total, None if total is None else draw(st.integers(0, total)))
            for number, total in enumerate(draw(st.lists(sizes, max_size=4)))
        ]
        found.append(machine(f"m{index}", *gpus))
    return found


queues = st.lists(
    st.tuples(sizes, st.sampled_from(["ann", "bob"]), st.integers(-1, 1), st.integers(0, 5), st.integers(1, 3)),
    max_size=8,
).map(lambda rows: [job(f"j{index}", *row[:3], at=row[3], gpus=row[4]) for index, row in enumerate(rows)])


@given(queues, machines_of())
def test_every_job_is_placed_or_told_why_and_no_gpu_is_given_twice(
    queue: list[Waiting], machines: list[MachineReport]
) -> None:
    plan = place(queue, machines, [])
    placed = [item.job for item in plan.assignments]
    assert sorted([*placed, *plan.reasons]) == sorted(item.job for item in queue)
    given_out = [(item.machine, uuid) for item in plan.assignments for uuid in item.gpus]
    assert len(given_out) == len(set(given_out))
    on_cpu = [item.machine for item in plan.assignments if not item.gpus]
    assert len(on_cpu) == len(set(on_cpu))
    assert all(plan.reasons.values())


@given(queues, machines_of())
def test_what_is_placed_fits(queue: list[Waiting], machines: list[MachineReport]) -> None:
    wanted = {item.job: item for item in queue}
    gpus = {(item.name, device.uuid): device for item in machines for device in item.gpus}
    for item in place(queue, machines, []).assignments:
        need = wanted[item.job].need_bytes
        for uuid in item.gpus:
            free = gpus[(item.machine, uuid)].free_bytes
            assert need is None or free is None or free >= need
        assert len(item.gpus) in (0, wanted[item.job].gpus)


@given(queues, machines_of())
def test_nothing_that_could_run_is_left_waiting(queue: list[Waiting], machines: list[MachineReport]) -> None:
    singles = [item for item in queue if item.gpus == 1]
    plan = place(singles, machines, [])
    busy = [Busy("x", item.machine, item.gpus) for item in plan.assignments]
    left = [item for item in singles if item.job in plan.reasons]
    assert place(left, machines, busy).assignments == []


def test_priority_then_fair_share_then_first_come() -> None:
    queue = [job("late", at=3), job("early", at=1), job("bobs", owner="bob", at=9), job("urgent", priority=5, at=8)]
    plan = place(queue, [machine("m", gpu("a"), gpu("b"), gpu("c"))], [])
    assert [item.job for item in plan.assignments] == ["urgent", "bobs", "early"]


def test_small_job_leaves_the_large_gpu_to_those_who_need_it() -> None:
    plan = place([job("small"), job("large", need=60, at=1)], [machine("m", gpu("big", 80, 80), gpu("little"))], [])
    assert {item.job: item.gpus for item in plan.assignments} == {"small": ("little",), "large": ("big",)}


def test_job_for_several_gpus_is_not_starved_by_small_ones() -> None:
    machines = [machine("m", gpu("a"), gpu("b"))]
    plan = place([job("two", gpus=2), job("one", at=1)], machines, [Busy("bob", "m", ("b",))])
    assert plan.assignments == []


def reason(queue: list[Waiting], machines: list[MachineReport], busy: list[Busy] | None = None) -> str:
    return place(queue, machines, busy or []).reasons[queue[-1].job].text


def test_what_takes_no_gpu_goes_beside_those_that_do_one_a_machine() -> None:
    merge = job("merge", need=1, gpus=0)
    full = machine("m", gpu("a", free=0))
    plan = place([merge, job("second", need=1, gpus=0), job("third", need=2, gpus=0)], [full], [tenant("x", "a", 24)])
    assert [(item.job, item.gpus) for item in plan.assignments] == [("merge", ())]
    assert plan.reasons["second"].kind == "main_memory_in_use"
    assert plan.reasons["third"].kind == "no_machine_large_enough"
    trains = Busy("bob", "m", (), "x")
    assert place([merge], [machine("m")], [trains]).reasons["merge"].kind == "main_memory_in_use"
    short = machine("m").model_copy(update={"host_available_bytes": GIB // 2})
    assert place([merge], [short], []).reasons["merge"].text == (
        "It needs about 1.0 GiB of main memory; on m 512.0 MiB are free."
    )
    broken = machine("m", because="the driver does not answer")
    assert place([job("unknown", need=None, gpus=0)], [broken], []).assignments, "no GPU is asked for"
    assert place([merge], [], []).reasons["merge"].kind == "no_worker"


def test_reasons_are_in_words() -> None:
    assert reason([job("j")], []) == "No worker is connected."
    assert "largest connected one has 24.0 GiB" in reason([job("j", need=60)], [machine("m", gpu("a"))])
    assert "in use" in reason([job("j")], [machine("m", gpu("a"))], [Busy("bob", "m", ("a",))])
    assert "other programs leave 2.0 GiB" in reason([job("j")], [machine("m", gpu("a", 24, 2))])
    assert "one job at a time" in reason([job("j")], [machine("m")], [Busy("bob", "m", ())])
    fault = "the NVIDIA driver is installed but not loaded"
    assert fault in reason([job("j")], [machine("m", because=fault)])


def test_reasons_are_told_to_programs_as_well() -> None:
    because = say("gpu_reset_needed")
    lost = gpu("lost").model_copy(update={"unusable_because": because.text, "unusable_sentence": because})
    told = place([job("j")], [machine("m", lost)], []).reasons["j"]
    assert told == say("gpus_cannot_be_used", faults=[say("gpu_fault", machine="m", index=0, because=because)])
    small = place([job("j", need=60)], [machine("m", gpu("a"))], []).reasons["j"]
    assert small.values == {"need_bytes": 60 * GIB, "largest_bytes": 24 * GIB}


def test_gpus_that_cannot_be_used_are_left_out_and_named() -> None:
    lost = gpu("lost").model_copy(update={"unusable_because": "the GPU has fallen off the bus"})
    divided = gpu("whole").model_copy(update={"divided": True})
    plan = place([job("j")], [machine("m", lost, divided, gpu("works"))], [])
    assert [item.gpus for item in plan.assignments] == [("works",)]
    assert "fallen off the bus" in reason([job("j")], [machine("m", lost)])
    assert "no instance" in reason([job("j")], [machine("m", divided)])
    assert "so many that work" in reason([job("j", gpus=2)], [machine("m", lost, gpu("works"))])


def test_mig_instances_take_jobs_but_are_never_joined_into_one() -> None:
    whole = gpu("whole", 80).model_copy(update={"divided": True})
    parts = [gpu(name, 20, 20).model_copy(update={"parent": "whole"}) for name in ("part-1", "part-2")]
    machines = [machine("m", whole, *parts)]
    assert [item.gpus for item in place([job("a"), job("b")], machines, []).assignments] == [("part-1",), ("part-2",)]
    assert place([job("two", gpus=2)], machines, []).assignments == []
    assert "largest connected one has 20.0 GiB" in reason([job("j", need=40)], machines)


def test_jobs_that_share_are_put_together_while_their_reservations_fit() -> None:
    machines = [machine("m", holding(gpu("a", 24, 18), first=4))]  # 4 of the first's 8, 2 of somebody else's
    beside = [tenant("first", "a", 8)]
    assert place([job("j", need=14, shares=True)], machines, beside).assignments != []
    assert place([job("j", need=15, shares=True)], machines, beside).assignments == []
    assert "other jobs and programs leave 14.0 GiB free on GPU 0 of m" in reason(
        [job("j", need=15, shares=True)], machines, beside
    )
    assert place([job("j", need=1)], machines, beside).assignments == [], "it does not share"
    alone = [tenant("first", "a", 8, shares=False)]
    assert place([job("j", need=1, shares=True)], machines, alone).assignments == [], "the first one does not"
    assert place([job("j", need=None, shares=True)], machines, beside).assignments == [], "nobody knows what it needs"


def test_jobs_that_share_spread_over_empty_gpus_first() -> None:
    queue = [job(name, need=6, at=at, shares=True) for at, name in enumerate(("one", "two", "three", "four", "five"))]
    plan = place(queue, [machine("m", gpu("a", 24, 13), gpu("b", 24, 13))], [])
    assert [item.gpus[0] for item in plan.assignments] == ["a", "b", "a", "b"]
    assert "leave 1.0 GiB" in plan.reasons["five"].text


@given(queues, machines_of())
def test_reservations_on_a_shared_gpu_never_exceed_what_is_free(
    queue: list[Waiting], machines: list[MachineReport]
) -> None:
    sharing = [replace(item, shares=True) for item in queue]
    needs = {item.job: item.need_bytes for item in sharing}
    free = {(item.name, device.uuid): device.free_bytes for item in machines for device in item.gpus}
    given_out: dict[tuple[str, str], list[int | None]] = {}
    for item in place(sharing, machines, []).assignments:
        for uuid in item.gpus:
            given_out.setdefault((item.machine, uuid), []).append(needs[item.job])
    for place_, claims in given_out.items():
        known = [claim for claim in claims if claim is not None]
        assert len(claims) == 1 or len(known) == len(claims), "one of unknown needs shares with nobody"
        assert free[place_] is None or sum(known) <= (free[place_] or 0)


def test_reservation_is_predicted_then_measured() -> None:
    assert reserve(None, None, 0.05, proven=True) is None
    assert reserve(100, None, 0.1, proven=True) == 110
    assert reserve(100, 120, 0.1, proven=False) == 132, "more than predicted counts at once"
    assert reserve(100, 50, 0.1, proven=False) == 110, "less, only after enough steps"
    assert reserve(100, 50, 0.1, proven=True) == 55


def test_measured_peak_is_the_drivers_figure_else_torchs_with_the_context() -> None:
    told = step("j", 1, 1)
    assert highest(None, [told], 5) is None, "no GPU figure"
    told.memory = [MemoryFigure(source="torch.reserved", bytes=70, peak_bytes=90)]
    assert highest(None, [told], 5) == 95
    assert highest(None, [told], None) is None
    told.memory.append(MemoryFigure(source="nvml.process", bytes=80, peak_bytes=99))
    assert highest(None, [told], None) == 99
    told.memory.append(MemoryFigure(source="gpu2.nvml.process", bytes=110, peak_bytes=120))
    assert highest(None, [told], None) == 120, "of several GPUs the one that holds most"
    told.memory.append(MemoryFigure(source="gpu3.torch.reserved", bytes=130, peak_bytes=130))
    assert highest(None, [told], None) == 120, "its context is not known"
    assert highest(None, [told], 5) == 135, "whoever measured it"


def test_a_gpu_that_does_not_tell_its_memory_comes_last() -> None:
    silent, told = gpu("a", None, None), gpu("b", 80, 80)
    assert place([job("j")], [machine("m", silent, told)], []).assignments[0].gpus == ("b",)
    assert place([job("j")], [machine("m", silent)], []).assignments[0].gpus == ("a",)
