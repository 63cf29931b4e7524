"""The queue on a machine with eight simulated GPUs: real controller, worker, Redis and pynvml; stand-in trainers."""

import pytest
import redis

from backend.gpus.reports import reports
from backend.jobs.transitions import requeue
from tests.support.waiting import until
from tests.worker.parts import Parts
from tests.worker.simulated import SimulatedDriver, fail, gpu, lost, process
from tunescope.states import JobState
from tunescope.units import GIB
from tunescope.wire import GpuReport, MachineReport

pytestmark = pytest.mark.slow
SOMEBODY = 4_000_001
"""A process of another person: no process here has this number."""
EIGHT = [gpu(index, 24 * GIB, reserved=GIB // 2) for index in range(8)]


def held_by_somebody(*indexes: int, gib: int = 23) -> list[str]:
    return [process(f"GPU-{index}", SOMEBODY, gib * GIB, foreign=True) for index in indexes]


@pytest.fixture
def server(parts: Parts, driver: SimulatedDriver) -> Parts:
    parts.environment |= driver.environment
    driver.write(*EIGHT)
    return parts


def start(server: Parts) -> None:
    server.start_worker()
    server.start_controller()


def machine(server: Parts) -> MachineReport:
    def told() -> MachineReport | None:
        with redis.Redis.from_url(server.redis_url) as connection:
            return next(iter(reports(connection)), None)

    return until(told, within=20, what="the machine reports")


def gpu_of(server: Parts, uuid: str) -> GpuReport:
    return {item.uuid: item for item in machine(server).gpus}[uuid]


def waits_because(server: Parts, job: str, words: str) -> None:
    until(lambda: words in (server.row(job).waiting_because or ""), within=20, what=f"the job waits: {words}")


def test_jobs_take_gpus_with_room_and_wait_with_a_reason_for_those_of_others(
    server: Parts, driver: SimulatedDriver
) -> None:
    driver.write(*EIGHT, *held_by_somebody(0, 1, 2, 3, 5, 7))
    start(server)
    jobs = [server.submit(f"slow 2000 holding {gib}") for gib in (3, 4)]
    for job in jobs:
        server.wait_for(job, JobState.RUNNING, within=40)
    placed = {tuple(server.row(job).gpus) for job in jobs}
    assert placed == {("GPU-4",), ("GPU-6",)}, [server.row(job).attempt for job in jobs]
    third = server.submit("quick 3")
    waits_because(server, third, "other programs leave 512.0 MiB free on GPU 0 of m1")

    place = server.row(jobs[0]).gpus[0]
    pid = server.trainer_pid(jobs[0])
    until(lambda: gpu_of(server, place).used_bytes == int(3.5 * GIB), within=10, what="what the job holds is told")
    (holder,) = gpu_of(server, place).processes
    assert (holder.pid, holder.job, holder.used_bytes) == (pid, jobs[0], 3 * GIB)
    assert [item.job for item in gpu_of(server, "GPU-0").processes] == [None]
    assert machine(server).running == sorted(jobs)

    driver.write(*EIGHT, *held_by_somebody(0, 1, 2, 5, 7))
    assert server.wait_for(third, JobState.SUCCEEDED, within=40).gpus == ["GPU-3"]
    for job in jobs:
        server.cancel(job)
        server.wait_for(job, JobState.CANCELLED, within=20)
    until(lambda: gpu_of(server, place).used_bytes == GIB // 2, within=10, what="the memory of the dead is free")


def test_gpus_that_are_lost_get_no_jobs_and_a_reloaded_driver_is_used_again(
    server: Parts, driver: SimulatedDriver
) -> None:
    others = held_by_somebody(*range(7))
    start(server)
    machine(server)
    driver.write(*EIGHT, *others, lost(7))
    until(lambda: gpu_of(server, "GPU-7").unusable_because, within=10, what="the loss is told")
    job = server.submit("quick 3")
    waits_because(server, job, "other programs leave 512.0 MiB")
    driver.write(*EIGHT, *others, *[lost(index) for index in range(8)])
    waits_because(server, job, "m1, GPU 7: the GPU has fallen off the bus")
    driver.write(*EIGHT, fail("nvmlInitWithFlags", 9), generation=1)
    waits_because(server, job, "the NVIDIA driver is installed but not loaded")
    driver.write(*EIGHT, *others, generation=2)
    assert server.wait_for(job, JobState.SUCCEEDED, within=40).gpus == ["GPU-7"]


def test_jobs_that_share_a_gpu_and_a_retry_that_reserves_what_was_measured(
    server: Parts, driver: SimulatedDriver
) -> None:
    driver.write(EIGHT[0])
    start(server)
    share = {"placement": {"share_gpu": True}}
    pair = [server.submit(f"slow 2000 holding {gib}", **share) for gib in (2, 3)]
    for job in pair:
        assert server.wait_for(job, JobState.RUNNING, within=40).gpus == ["GPU-0"]
    alone = server.submit("suicide 3 holding 20")
    waits_because(server, alone, "in use")
    for job in pair:
        server.cancel(job)
    row = server.wait_for(alone, JobState.FAILED, within=40)
    assert row.peak_gpu_bytes == 20 * GIB
    driver.write(EIGHT[0], *held_by_somebody(0, gib=9))
    until(lambda: gpu_of(server, "GPU-0").used_bytes == int(9.5 * GIB), within=10, what="somebody's memory is told")
    with server.sessions.begin() as session:
        assert requeue(session, server.read(session, alone), resume_from_attempt=None)
    waits_because(server, alone, "It needs about 21.0 GiB on a GPU; other programs leave 14.5 GiB")
