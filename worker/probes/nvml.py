"""The GPUs of this machine, by NVML, NVIDIA's management library. It makes no CUDA context, and nothing here raises."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from tunescope.sentences import Sentence, say
from tunescope.wire import GpuXid
from worker.probes.nvml_calls import LOST, STALE, ask, call, text
from worker.probes.nvml_health import XidWatch, throttling, uncorrected_errors
from worker.probes.nvml_memory import Memory, Process, device_memory, memory, processes
from worker.probes.process_groups import process_memory
from worker.probes.reading import Unknown

__all__ = ["Gpu", "Memory", "Nvml", "Process", "device_memory", "lost_gpu", "process_memory"]

log = logging.getLogger(__name__)

REOPEN_SECONDS = 30.0
"""How often NVML is opened anew while a GPU is missing: only so is one seen again that was reset."""
NOT_LISTED = say("gpu_not_listed")
WHOLE_ONLY = Unknown(say("only_whole_gpu"))
UNNAMED = "NVIDIA GPU"
"""Until the driver has told a GPU's name: beside its number."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG instance of it (then ``parent`` is the GPU's UUID), as NVML tells it."""

    uuid: str
    index: int
    name: str
    compute_capability: tuple[int, int] | Unknown
    memory: Memory | Unknown
    utilization_percent: int | Unknown
    temperature_celsius: int | Unknown
    power_watts: float | Unknown
    power_limit_watts: float | Unknown
    sm_clock_mhz: int | Unknown
    memory_clock_mhz: int | Unknown
    throttling: tuple[str, ...] | Unknown
    ecc_volatile_uncorrected: int | Unknown
    ecc_aggregate_uncorrected: int | Unknown
    xids: tuple[GpuXid, ...] | Unknown
    processes: tuple[Process, ...] | Unknown
    parent: str | None = None
    divided: bool = False
    unusable: Sentence | None = None
    """Why no job can run on it."""


class Nvml:
    """NVML, opened when first needed and again after it failed, since drivers come and go under a running worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open = False
        self._opened_at = 0.0
        self._xids = XidWatch()
        self._watching: set[str] = set()
        self._known: dict[str, Gpu] = {}
        """Every GPU seen so far as it would be told if it were lost, by UUID."""

    def gpus(self) -> list[Gpu] | Unknown:
        """All GPUs of this machine and their MIG instances, those that were lost included."""
        found = self._look()
        if self._must_reopen(found):
            self.close()
            found = self._look()
        return found

    def versions(self) -> dict[str, str]:
        """Versions of the driver and of the newest CUDA that it knows; empty where they cannot be had."""
        driver = ask(lambda: text(call("nvmlSystemGetDriverVersion")))
        cuda = ask(lambda: int(call("nvmlSystemGetCudaDriverVersion_v2")))
        found = {} if isinstance(driver, Unknown) else {"nvidia driver": driver}
        return found if isinstance(cuda, Unknown) else found | {"cuda (driver)": f"{cuda // 1000}.{cuda % 1000 // 10}"}

    def open(self) -> Unknown | None:
        """Open NVML; why that failed, or None."""
        if self._open:
            return None
        opened = ask(lambda: call("nvmlInit"))
        if isinstance(opened, Unknown):
            return opened
        self._open = True
        self._opened_at = self._clock()
        return None

    def close(self) -> None:
        if self._open:
            self._xids.stop()
            ask(lambda: call("nvmlShutdown"))
        self._open = False
        self._watching.clear()

    def _look(self) -> list[Gpu] | Unknown:
        failed = self.open()
        if failed:
            return failed
        count = ask(lambda: int(call("nvmlDeviceGetCount")))
        if isinstance(count, Unknown):
            self.close()
            return count
        handles = {index: ask(lambda index=index: call("nvmlDeviceGetHandleByIndex", index)) for index in range(count)}
        stale = next((it for it in handles.values() if isinstance(it, Unknown) and it.code in STALE), None)
        if stale:
            self.close()
            return stale
        return self._tell(handles)

    def _tell(self, handles: dict[int, Any]) -> list[Gpu]:
        uuids = {index: _uuid(handle) for index, handle in handles.items()}
        self._xids.poll()
        self._watch({uuid: handles[index] for index, uuid in uuids.items() if isinstance(uuid, str)})
        found: list[Gpu] = []
        for index, uuid in uuids.items():
            if isinstance(uuid, Unknown):
                found.append(self._lost(index, uuid.sentence))
                continue
            whole = self._whole(handles[index], uuid, index)
            found += [whole, *_instances(handles[index], whole)]
            self._known[uuid] = lost_gpu(uuid, index, whole.name, NOT_LISTED, self._xids.seen(uuid))
        told = {gpu.uuid for gpu in found}
        return found + [gpu for uuid, gpu in self._known.items() if uuid not in told]

    def _must_reopen(self, found: list[Gpu] | Unknown) -> bool:
        if isinstance(found, Unknown):
            return found.code in STALE
        missing = any(gpu.unusable for gpu in found)
        return missing and self._open and self._clock() - self._opened_at >= REOPEN_SECONDS

    def _watch(self, handles: dict[str, Any]) -> None:
        """Listen anew where there are GPUs that are not listened to; not where one is lost, as that would miss why."""
        if not set(handles) <= self._watching:
            self._xids.start(handles)
            self._watching = set(handles)

    def _lost(self, index: int, because: Sentence) -> Gpu:
        """A GPU that answers nothing: told under the name it had, if it was seen before."""
        known = next((gpu for gpu in self._known.values() if gpu.index == index), None)
        if known is None:
            return lost_gpu(f"GPU-unknown-{index}", index, UNNAMED, because, Unknown(because))
        return lost_gpu(known.uuid, index, known.name, because, self._xids.seen(known.uuid))

    def _whole(self, handle: Any, uuid: str, index: int) -> Gpu:
        mode = ask(lambda: call("nvmlDeviceGetMigMode", handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE)
        name = ask(lambda: text(call("nvmlDeviceGetName", handle)))
        held = ask(lambda: memory(handle))
        lost = held.sentence if isinstance(held, Unknown) and held.code == LOST else None
        return Gpu(
            uuid=uuid,
            index=index,
            name=UNNAMED if isinstance(name, Unknown) else name,
            compute_capability=ask(lambda: capability(handle)),
            memory=held,
            utilization_percent=ask(lambda: int(call("nvmlDeviceGetUtilizationRates", handle).gpu)),
            temperature_celsius=ask(lambda: int(call("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU))),
            power_watts=ask(lambda: int(call("nvmlDeviceGetPowerUsage", handle)) / 1000),
            power_limit_watts=ask(lambda: int(call("nvmlDeviceGetEnforcedPowerLimit", handle)) / 1000),
            sm_clock_mhz=ask(lambda: int(call("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_SM))),
            memory_clock_mhz=ask(lambda: int(call("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_MEM))),
            throttling=ask(lambda: throttling(handle)),
            ecc_volatile_uncorrected=ask(lambda: uncorrected_errors(handle, pynvml.NVML_VOLATILE_ECC)),
            ecc_aggregate_uncorrected=ask(lambda: uncorrected_errors(handle, pynvml.NVML_AGGREGATE_ECC)),
            xids=self._xids.seen(uuid),
            processes=() if mode is True else ask(lambda: processes(handle)),
            divided=mode is True,
            unusable=lost,
        )


def capability(handle: Any) -> tuple[int, int]:
    major, minor = call("nvmlDeviceGetCudaComputeCapability", handle)
    return int(major), int(minor)


def _uuid(handle: Any) -> str | Unknown:
    return handle if isinstance(handle, Unknown) else ask(lambda: text(call("nvmlDeviceGetUUID", handle)))


def _instances(handle: Any, whole: Gpu) -> list[Gpu]:
    """The MIG instances of a GPU, each a device of its own. Places where none was made answer "not found"."""
    if not whole.divided:
        return []
    places = ask(lambda: int(call("nvmlDeviceGetMaxMigDeviceCount", handle)))
    found: list[Gpu] = []
    for place in range(0 if isinstance(places, Unknown) else places):
        part = ask(lambda place=place: call("nvmlDeviceGetMigDeviceHandleByIndex", handle, place))
        uuid = _uuid(part)
        if isinstance(uuid, str):
            found.append(_instance(part, uuid, whole))
    return found


def _instance(part: Any, uuid: str, whole: Gpu) -> Gpu:
    name = ask(lambda: text(call("nvmlDeviceGetName", part)))
    return Gpu(
        uuid=uuid,
        index=whole.index,
        name=f"{whole.name} MIG" if isinstance(name, Unknown) else name,
        compute_capability=whole.compute_capability,
        memory=ask(lambda: memory(part)),
        utilization_percent=WHOLE_ONLY,
        temperature_celsius=WHOLE_ONLY,
        power_watts=WHOLE_ONLY,
        power_limit_watts=WHOLE_ONLY,
        sm_clock_mhz=WHOLE_ONLY,
        memory_clock_mhz=WHOLE_ONLY,
        throttling=WHOLE_ONLY,
        ecc_volatile_uncorrected=WHOLE_ONLY,
        ecc_aggregate_uncorrected=WHOLE_ONLY,
        xids=WHOLE_ONLY,
        processes=ask(lambda: processes(part)),
        parent=whole.uuid,
        unusable=whole.unusable,
    )


def lost_gpu(uuid: str, index: int, name: str, because: Sentence, xids: tuple[GpuXid, ...] | Unknown) -> Gpu:
    """A GPU of which the driver tells nothing any more but the faults heard before."""
    nothing = Unknown(because)
    return Gpu(
        uuid=uuid,
        index=index,
        name=name,
        compute_capability=nothing,
        memory=nothing,
        utilization_percent=nothing,
        temperature_celsius=nothing,
        power_watts=nothing,
        power_limit_watts=nothing,
        sm_clock_mhz=nothing,
        memory_clock_mhz=nothing,
        throttling=nothing,
        ecc_volatile_uncorrected=nothing,
        ecc_aggregate_uncorrected=nothing,
        xids=xids,
        processes=nothing,
        unusable=because,
    )
