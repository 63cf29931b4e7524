"""GPU memory by NVML: of a device, and of the processes on it. All figures are bytes."""

from dataclasses import dataclass
from typing import Any

import pynvml

from tunescope.sentences import say
from worker.probes.nvml_calls import UNSUPPORTED, ask, call
from worker.probes.reading import Bytes, Unknown

RESERVE_UNKNOWN = Unknown(say("reserve_not_told"))
HIDDEN = Unknown(say("process_memory_hidden"))


@dataclass(frozen=True)
class Process:
    """A process that holds GPU memory; ``pid`` is as the driver numbers it."""

    pid: int
    used: Bytes


@dataclass(frozen=True)
class Memory:
    """A device's memory. ``used`` is all that is not free, so ``reserved``, what the driver keeps for itself, is part of it.

    nvidia-smi leaves the reserve out of its "used" since driver 510.
    """

    total: int
    used: int
    free: int
    reserved: Bytes

    @property
    def held(self) -> int:
        """Bytes that processes hold: ``used`` without the driver's reserve (0.5 GiB of an H100), where that is told apart."""
        return self.used - (0 if isinstance(self.reserved, Unknown) else self.reserved)


def memory(handle: Any) -> Memory:
    """Memory of a device. Raises pynvml.NVMLError."""
    info = ask(lambda: call("nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2))
    if isinstance(info, Unknown):
        if info.code is not None and info.code not in UNSUPPORTED:
            raise pynvml.NVMLError(info.code)
        info = call("nvmlDeviceGetMemoryInfo", handle)
        reserved: Bytes = RESERVE_UNKNOWN
    else:
        reserved = int(info.reserved)
    total, free = int(info.total), int(info.free)
    return Memory(total=total, used=total - free, free=free, reserved=reserved)


def processes(handle: Any) -> tuple[Process, ...]:
    """Every process on a device, once. Raises pynvml.NVMLError if even those that compute are not told.

    One that computes and draws is in two lists with the same figure (nvidia-smi's "C+G").
    """
    found: dict[int, Process] = {}
    listed = _listed("nvmlDeviceGetComputeRunningProcesses", handle)
    for kind in ("nvmlDeviceGetGraphicsRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses"):
        more = ask(lambda kind=kind: _listed(kind, handle))
        listed += [] if isinstance(more, Unknown) else more
    for item in listed:
        used = item.usedGpuMemory
        process = Process(int(item.pid), HIDDEN if used is None else int(used))
        known = found.get(process.pid)
        if known is None or isinstance(known.used, Unknown):
            found[process.pid] = process
    return tuple(found.values())


def _listed(kind: str, handle: Any) -> list[Any]:
    try:
        return list(call(f"{kind}_v3", handle))
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        return list(call(f"{kind}_v2", handle))  # before driver 510


def device_memory(uuid: str) -> Memory | Unknown:
    """Memory of the GPU with this UUID. For a process that opened NVML itself with ``Nvml().open()``."""
    return ask(lambda: memory(call("nvmlDeviceGetHandleByUUID", uuid)))


def device_index(uuid: str) -> int | Unknown:
    """The number that the driver has for the GPU with this UUID, as nvidia-smi shows it; Unknown for the reasons of ``device_memory``."""
    return ask(lambda: int(call("nvmlDeviceGetIndex", call("nvmlDeviceGetHandleByUUID", uuid))))
