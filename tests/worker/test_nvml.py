"""GPU probes: the real pynvml package on a simulated driver whose machine changes while it is asked."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

from tests.support.waiting import until
from tests.worker.probing import Probing
from tests.worker.simulated import SimulatedDriver, fail, gpu, growing, lost, mig, process, xid
from tunescope.units import GIB, MIB
from tunescope.wire import THROTTLING_WORDS, GpuReport
from worker.probes.nvml_health import THROTTLING
from worker.probes.process_groups import HOST_NAMESPACE, unmatched

EIGHT = [gpu(index, 24 * GIB, reserved=512 * MIB) for index in range(8)]
FUNCTIONS = {
    "nvmlDeviceGetCudaComputeCapability": {"compute_capability"},
    "nvmlDeviceGetUtilizationRates": {"utilization_percent"},
    "nvmlDeviceGetTemperature": {"temperature_celsius"},
    "nvmlDeviceGetPowerUsage": {"power_watts"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_watts"},
    "nvmlDeviceGetClockInfo": {"sm_clock_mhz", "memory_clock_mhz"},
    "nvmlDeviceGetTotalEccErrors": {"ecc_volatile_uncorrected", "ecc_aggregate_uncorrected"},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"processes"},
    "nvmlDeviceRegisterEvents": {"xids"},
    "nvmlDeviceGetMemoryInfo_v2": {"memory"},
}
CODES = sorted(value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_") and value)
TWO_IN_A_GROUP = """
import os, time
os.fork()
os.write(1, b"%d\\n" % os.getpid())
time.sleep(60)
"""


@pytest.fixture
def group() -> Iterator[tuple[int, int]]:
    """Leader and member of a process group, as a trainer and its data loader are."""
    child = subprocess.Popen(
        [sys.executable, "-c", TWO_IN_A_GROUP], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout
    pids = {int(child.stdout.readline()), int(child.stdout.readline())}
    yield child.pid, (pids - {child.pid}).pop()
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def test_every_figure_of_eight_gpus(driver: SimulatedDriver) -> None:
    special = gpu(
        3,
        80 * GIB,
        name="Simulated 80GB",
        capability=89,
        reserved=600 * MIB,
        util=97,
        temp=71,
        power=312500,
        limit=400000,
        sm=1755,
        mem=2619,
        throttle=0x4 | 0x20 | 0x1,
        ecc_volatile=1,
        ecc_aggregate=5,
    )
    driver.write(*EIGHT[:3], special, *EIGHT[4:], process("GPU-3", 4242, 30 * GIB, foreign=True))
    with Probing(driver) as probing:
        told = probing.report()
    assert [item.uuid for item in told.gpus] == [f"GPU-{index}" for index in range(8)]
    assert told.gpus_unknown_because is None
    assert told.versions["nvidia driver"] == "580.65.06" and told.versions["cuda (driver)"] == "13.0"
    assert told.gpus[3] == GpuReport(
        uuid="GPU-3",
        index=3,
        name="Simulated 80GB",
        compute_capability=(8, 9),
        total_bytes=80 * GIB,
        used_bytes=30 * GIB + 600 * MIB,
        free_bytes=50 * GIB - 600 * MIB,
        reserved_bytes=600 * MIB,
        utilization_percent=97,
        temperature_celsius=71,
        power_watts=312.5,
        power_limit_watts=400,
        sm_clock_mhz=1755,
        memory_clock_mhz=2619,
        throttling=["power_limit", "temperature_software"],
        ecc_volatile_uncorrected=1,
        ecc_aggregate_uncorrected=5,
        processes=told.gpus[3].processes,
    )
    assert [(item.pid, item.used_bytes, item.job) for item in told.gpus[3].processes] == [(4242, 30 * GIB, None)]
    assert told.gpus[0].used_bytes == told.gpus[0].reserved_bytes == 512 * MIB


def test_driver_without_memory_info_v2_does_not_tell_its_reserve_apart(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT, process("GPU-0", 4242, GIB, foreign=True), fail("nvmlDeviceGetMemoryInfo_v2", 13))
    with Probing(driver) as probing:
        told = probing.gpu("GPU-0")
    assert told.used_bytes == GIB + 512 * MIB and told.reserved_bytes is None
    assert "without telling it apart" in told.unknown["reserved_bytes"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_any_error_of_a_function_makes_its_figure_unknown_and_only_while_it_lasts(
    driver: SimulatedDriver, function: str
) -> None:
    driver.write(*EIGHT)
    with Probing(driver) as probing:
        whole = probing.report().gpus
        for code in CODES:
            both = [fail("nvmlDeviceGetMemoryInfo", code, 2)] if "MemoryInfo" in function else []
            # Events are registered when the driver is opened, so there a driver reload comes with the error.
            generation = code if "Register" in function else 0
            driver.write(*EIGHT, fail(function, code, 2), *both, generation=generation)
            told = probing.report().gpus
            assert set(told[2].unknown) == FUNCTIONS[function], (function, code)
            assert all(told[2].unknown.values())
            assert [item for item in told if item.index != 2] == [item for item in whole if item.index != 2]
        driver.write(*EIGHT, generation=10_000)
        assert probing.report().gpus == whole


def test_throttling_is_asked_by_its_old_name_too(driver: SimulatedDriver) -> None:
    card = gpu(0, GIB, throttle=0x40)
    driver.write(card, fail("nvmlDeviceGetCurrentClocksEventReasons", 13))
    with Probing(driver) as probing:
        assert probing.gpu("GPU-0").throttling == ["temperature_hardware"]
        old = fail("nvmlDeviceGetCurrentClocksThrottleReasons", 3)
        driver.write(card, fail("nvmlDeviceGetCurrentClocksEventReasons", 13), old)
        told = probing.gpu("GPU-0")
    assert told.throttling is None and told.unknown == {"throttling": "this GPU does not tell it"}


def test_all_that_slows_a_gpu_has_words() -> None:
    assert set(THROTTLING.values()) == set(THROTTLING_WORDS)


def test_driver_that_is_loaded_anew_is_opened_anew(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT)
    with Probing(driver) as probing:
        before = probing.report()
        driver.write(*EIGHT, generation=1)
        assert probing.report().gpus == before.gpus
        driver.write(*EIGHT, fail("nvmlInitWithFlags", 9), generation=2)
        gone = probing.report()
        assert gone.gpus == [] and gone.gpus_unknown_because == "the NVIDIA driver is installed but not loaded"
        driver.write(*EIGHT, xid(1, 31), generation=2)
        assert probing.report().gpus == before.gpus
        driver.write(*EIGHT, xid(1, 31), xid(1, 79), generation=2)
        assert [fault.code for fault in probing.gpu("GPU-1").xids] == [79], "faults are heard after the reload too"


def test_gpu_that_falls_off_the_bus_is_told_as_lost_beside_the_others(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT)
    with Probing(driver) as probing:
        before = probing.report().gpus
        driver.write(*EIGHT, lost(5), xid(5, 79))
        told = probing.report().gpus
        assert [item.uuid for item in told] == [item.uuid for item in before]
        assert told[5].name == "Simulated 24GB" and told[5].total_bytes is None
        assert "fallen off the bus" in (told[5].unusable_because or "")
        assert "fallen off the bus" in told[5].unknown["memory"]
        assert [fault.code for fault in told[5].xids] == [79], "the last word of the lost GPU"
        assert [item for item in told if item.index != 5] == [item for item in before if item.index != 5]
        driver.write(*EIGHT[:5], *EIGHT[6:])  # after a reload the driver does not even list it
        assert "no longer lists" in (probing.gpu("GPU-5").unusable_because or "")
        driver.write(*EIGHT)
        assert probing.gpu("GPU-5").unusable_because is None


def test_gpu_that_was_lost_before_the_worker_began_is_told_too(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT[:2], lost(1))
    with Probing(driver) as probing:
        first, second = probing.report().gpus
    assert first.uuid == "GPU-0" and first.unusable_because is None
    assert second.index == 1 and "fallen off the bus" in (second.unusable_because or "")


def test_faults_are_heard_with_their_meaning(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT, xid(0, 13))
    with Probing(driver) as probing:
        assert probing.gpu("GPU-0").xids == [], "what happened before the worker began is not told as new"
        driver.write(*EIGHT, xid(0, 13), xid(2, 48), xid(2, 12345))
        told = probing.report().gpus
        assert [(fault.code, fault.meaning) for fault in told[2].xids] == [
            (48, "double bit memory error (ECC)"),
            (12345, "see NVIDIA's list of Xid errors"),
        ]
        assert time.time() - told[2].xids[0].at < 60
        assert told[0].xids == [] and len(probing.gpu("GPU-2").xids) == 2


def test_mig_instances_are_devices_with_a_parent(driver: SimulatedDriver) -> None:
    whole = gpu(1, 80 * GIB, mig_on=True, reserved=GIB)
    parts = [mig(1, 0, 10 * GIB), mig(1, 3, 20 * GIB)]
    driver.write(EIGHT[0], whole, *parts, process("MIG-1-3", 4242, 3 * GIB, foreign=True))
    with Probing(driver) as probing:
        plain, parent, first, second = probing.report().gpus
    assert (plain.uuid, plain.divided, plain.parent) == ("GPU-0", False, None)
    assert parent.divided and parent.used_bytes == 4 * GIB and parent.processes == []
    assert [(item.uuid, item.index, item.parent) for item in (first, second)] == [
        ("MIG-1-0", 1, "GPU-1"),
        ("MIG-1-3", 1, "GPU-1"),
    ]
    assert (second.total_bytes, second.used_bytes) == (20 * GIB, 3 * GIB)
    assert [held.used_bytes for held in second.processes] == [3 * GIB]
    assert second.temperature_celsius is None
    assert "only the whole GPU tells it" in second.unknown["temperature_celsius"]


def test_memory_of_a_process_tree_is_that_of_its_group(driver: SimulatedDriver, group: tuple[int, int]) -> None:
    leader, member = group
    held = [
        process("GPU-0", leader, 5 * GIB, draws=True),  # listed twice, as it also draws
        process("GPU-0", member, 2 * GIB),
        process("GPU-0", os.getpid(), 3 * GIB),
        process("GPU-1", leader, GIB),
    ]
    driver.write(*EIGHT, *held)
    with Probing(driver) as probing:
        assert probing.process_memory("GPU-0", leader) == probing.process_memory("GPU-0", member) == 7 * GIB
        assert probing.process_memory("GPU-1", leader) == GIB
        assert "lists no process of this job" in str(probing.process_memory("GPU-2", leader))
        assert probing.process_memory("GPU-0", 2**22 - 1) == f"process {2**22 - 1} has ended"
        told = probing.gpu("GPU-0", **{"job-1": leader})
        driver.write(*EIGHT, *held[:2], process("GPU-0", member, None))
        hidden = probing.gpu("GPU-0", **{"job-1": leader})
    by_pid = {item.pid: item for item in told.processes}
    assert len(told.processes) == 3
    assert by_pid[leader].job == by_pid[member].job == "job-1" and by_pid[os.getpid()].job is None
    assert by_pid[leader].user and "python" in (by_pid[leader].name or "")
    assert [item.used_bytes for item in hidden.processes if item.pid == member] == [2 * GIB]


def test_memory_that_the_driver_hides_is_unknown_not_zero(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT, process("GPU-0", os.getpid(), None))
    with Probing(driver) as probing:
        assert [item.used_bytes for item in probing.gpu("GPU-0").processes] == [None]
        assert "does not tell" in str(probing.process_memory("GPU-0", os.getpid()))


def test_container_with_numbers_of_its_own_attributes_nothing_to_jobs(driver: SimulatedDriver) -> None:
    unshare = shutil.which("unshare")
    inside = [unshare or "unshare", "--pid", "--fork", "--mount-proc"]
    if unshare is None or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to make a PID namespace here")
    driver.write(*EIGHT, process("GPU-0", 1, 3 * GIB, foreign=True))
    with Probing(driver, prefix=inside) as probing:
        assert probing.pid == 1, "the very number that the driver tells, but of another process"
        told = probing.gpu("GPU-0", **{"job-1": 1})
        assert [(item.pid, item.used_bytes, item.job, item.name) for item in told.processes] == [
            (1, 3 * GIB, None, None)
        ]
        assert "--pid=host" in told.unknown["jobs"]
        assert "--pid=host" in str(probing.process_memory("GPU-0", 1))


def test_translated_numbers_in_a_container_are_believed_when_all_hold_cuda(tmp_path: Path) -> None:
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(f"pid:[{HOST_NAMESPACE - 7}]")
    for pid, library in ((7, "/usr/lib/libcuda.so.580.65"), (8, "/usr/lib/libc.so.6")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "maps").write_text(f"7f00-7f01 r-xp 00000000 08:01 1 {library}\n")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) " + " ".join(map(str, range(30))))
    assert unmatched([7], tmp_path) is None
    assert unmatched([7, 8], tmp_path) is not None and unmatched([7, 9], tmp_path) is not None


def test_memory_is_told_as_it_moves(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT, growing("GPU-0", 4242, time.time(), [(0, GIB), (20, 21 * GIB)]))
    with Probing(driver) as probing:
        first = probing.gpu("GPU-0").used_bytes or 0
        until(lambda: (probing.gpu("GPU-0").used_bytes or 0) > first + GIB, within=5, what="the curve rises")


def test_probes_make_no_cuda_context(driver: SimulatedDriver) -> None:
    driver.write(*EIGHT)
    with Probing(driver) as probing:
        probing.report()
        maps = probing.maps()
    assert "libnvidia-ml.so" in maps
    assert "libcuda" not in maps and "libtorch" not in maps
