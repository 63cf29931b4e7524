"""Where the sampling thread reads memory from. A source answers in microseconds, or says what it cannot know."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tunescope.sentences import say
from worker.probes.nvml import Nvml
from worker.probes.nvml_memory import Memory, device_memory
from worker.probes.process_groups import process_memory
from worker.probes.reading import Bytes, Unknown

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Source:
    """A memory figure that can be read at any time, named as in MemoryFigure."""

    name: str
    read: Callable[[], Bytes]


def host_source() -> Source:
    """Resident memory of this process. The file stays open: a sample is one system call of about 2 µs."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        unknown = Unknown(say("file_unreadable", file="/proc/self/statm", said=error.strerror or str(error)))
        return Source("host.rss", lambda: unknown)

    def read() -> Bytes:
        return int(os.pread(descriptor, 128, 0).split()[1]) * PAGE_BYTES

    return Source("host.rss", read)


class KernelPeak:
    """The highest resident memory since the last ``take``, as the kernel keeps it: exact, and 20 µs with open files."""

    def __init__(self) -> None:
        self.works = False
        try:
            self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            self._reset = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            self.works = self.take() is not None
        except OSError:  # gVisor and some containers have no clear_refs: the samples alone tell the peak then
            return

    def take(self) -> int | None:
        """Bytes of the peak, which begins anew from what is held now; None where the kernel does not keep it."""
        text = os.pread(self._status, 4096, 0)
        at = text.find(b"VmHWM:")
        os.pwrite(self._reset, b"5", 0)
        return int(text[at + 6 :].split(None, 1)[0]) * 1024 if at >= 0 else None


def gpu_uuid() -> str:
    """NVML's name of the GPU that torch calls 0: the order's own, else the one that CUDA reports."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    if visible.startswith(("GPU-", "MIG-")):
        return visible
    return f"GPU-{torch.cuda.get_device_properties(0).uuid}"


def device_now() -> Memory | Unknown:
    """Memory of this process's GPU as NVML tells it, once ``nvml_sources`` has opened that."""
    return device_memory(gpu_uuid())


def nvml_sources(uuid: str) -> list[Source]:
    """Used bytes of the whole device, the driver's reserve included, and of this process's group on it."""
    closed = Nvml().open()
    if closed is not None:
        reason = closed
        return [Source(name, lambda: reason) for name in ("nvml.device", "nvml.process")]
    pid = os.getpid()

    def device() -> Bytes:
        memory = device_memory(uuid)
        return memory.used if isinstance(memory, Memory) else memory

    return [Source("nvml.device", device), Source("nvml.process", lambda: process_memory(uuid, pid))]


def sources() -> list[Source]:
    """What can be sampled here: the GPU where there is one, and main memory."""
    if torch.cuda.is_available():
        return [*nvml_sources(gpu_uuid()), host_source()]
    return [host_source()]
