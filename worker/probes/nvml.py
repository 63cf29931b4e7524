"""The one door to NVML, NVIDIA's management library. Every error of it becomes Unknown with a reason; nothing here raises."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from tunescope.wire import NO_GPU_DRIVER
from worker.probes.reading import Unknown

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """A process that holds GPU memory; ``used`` is in bytes."""

    pid: int
    used: int | Unknown


@dataclass(frozen=True)
class Memory:
    """GPU memory in bytes; ``used`` includes what the driver keeps for itself."""

    total: int
    used: int
    free: int


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML tells it."""

    uuid: str
    index: int
    name: str
    memory: Memory | Unknown
    utilization_percent: int | Unknown
    temperature_celsius: int | Unknown
    power_watts: float | Unknown
    processes: tuple[Process, ...] | Unknown


def explain(error: BaseException) -> str:
    """What an NVML error means, in words for a person."""
    known: dict[int, str] = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: f"{NO_GPU_DRIVER} (libnvidia-ml.so.1 was not found)",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is installed but not loaded",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was updated; the machine must be restarted",
        pynvml.NVML_ERROR_NO_PERMISSION: "no permission to ask the NVIDIA driver for this",
        pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU does not tell it",
        pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU has fallen off the bus; the machine must be restarted",
        pynvml.NVML_ERROR_RESET_REQUIRED: "the GPU must be reset before it can be used again",
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this version of the NVIDIA driver does not tell it",
    }
    code = getattr(error, "value", None)
    if isinstance(code, int):
        return known.get(code, f"NVML error {code}: {error}")
    return f"{type(error).__name__}: {error}"


def ask(question: Callable[[], T]) -> T | Unknown:
    """The answer to one NVML call, or why there is none."""
    try:
        return question()
    except (pynvml.NVMLError, OSError, AttributeError, UnicodeDecodeError) as error:
        return Unknown(explain(error))


class Nvml:
    """NVML, opened when first needed and again after it failed, since drivers come and go under a running worker."""

    def __init__(self) -> None:
        self._open = False

    def gpus(self) -> list[Gpu] | Unknown:
        """All GPUs of this machine."""
        if not self._open:
            opened = ask(lambda: _call("nvmlInit"))
            if isinstance(opened, Unknown):
                return opened
            self._open = True
        count = ask(lambda: int(_call("nvmlDeviceGetCount")))
        if isinstance(count, Unknown):
            self.close()
            return count
        return [gpu for index in range(count) if (gpu := self._gpu(index)) is not None]

    def close(self) -> None:
        if self._open:
            ask(lambda: _call("nvmlShutdown"))
        self._open = False

    def _gpu(self, index: int) -> Gpu | None:
        handle = ask(lambda: _call("nvmlDeviceGetHandleByIndex", index))
        if isinstance(handle, Unknown):
            log.warning("GPU %d is left out: %s", index, handle.because)
            return None
        uuid = ask(lambda: _text(_call("nvmlDeviceGetUUID", handle)))
        if isinstance(uuid, Unknown):
            log.warning("GPU %d is left out, as it has no UUID: %s", index, uuid.because)
            return None
        name = ask(lambda: _text(_call("nvmlDeviceGetName", handle)))
        return Gpu(
            uuid=uuid,
            index=index,
            name=f"GPU {index}" if isinstance(name, Unknown) else name,
            memory=ask(lambda: _memory(handle)),
            utilization_percent=ask(lambda: int(_call("nvmlDeviceGetUtilizationRates", handle).gpu)),
            temperature_celsius=ask(
                lambda: int(_call("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU))
            ),
            power_watts=ask(lambda: int(_call("nvmlDeviceGetPowerUsage", handle)) / 1000),
            processes=ask(lambda: _processes(handle)),
        )


def device_memory(uuid: str) -> Memory | Unknown:
    """Memory of the GPU with this UUID, in bytes. For a process that opened NVML itself with ``Nvml().gpus()``."""
    return ask(lambda: _memory(_call("nvmlDeviceGetHandleByUUID", uuid)))


def process_memory(uuid: str, pid: int) -> int | Unknown:
    """Bytes of the GPU with this UUID that NVML attributes to a process."""
    processes = ask(lambda: _processes(_call("nvmlDeviceGetHandleByUUID", uuid)))
    if isinstance(processes, Unknown):
        return processes
    for process in processes:
        if process.pid == pid:
            return process.used
    return Unknown("NVML does not list this process (in a container, process numbers differ)")


def _call(name: str, *arguments: Any) -> Any:
    """Call a pynvml function by name: the package carries no types."""
    return getattr(pynvml, name)(*arguments)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _memory(handle: Any) -> Memory:
    info = _call("nvmlDeviceGetMemoryInfo", handle)
    return Memory(total=int(info.total), used=int(info.used), free=int(info.free))


def _processes(handle: Any) -> tuple[Process, ...]:
    found: list[Process] = []
    for item in _call("nvmlDeviceGetComputeRunningProcesses", handle):
        used = item.usedGpuMemory
        found.append(Process(int(item.pid), Unknown("the driver does not tell it") if used is None else int(used)))
    return tuple(found)
