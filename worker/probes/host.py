"""Main memory: of a process with its children, and of the machine. Limits of a container count as the machine's size."""

import contextlib
import os
from pathlib import Path

import psutil

from tunescope.sentences import say
from worker.probes.reading import Bytes, Unknown

CGROUP = Path("/sys/fs/cgroup")


def resident_bytes(pid: int | None = None) -> Bytes:
    """Resident memory of a process, in bytes (of this one by default)."""
    number = pid or os.getpid()
    try:
        return int(psutil.Process(number).memory_info().rss)
    except psutil.NoSuchProcess:
        return Unknown(say("process_ended", pid=number))
    except psutil.AccessDenied:
        return Unknown(say("process_not_ours", pid=number))


def peak_resident_bytes() -> Bytes:
    """Highest resident memory of this process since it began or since ``reset_peak()``, in bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError as error:
        return Unknown(say("file_unreadable", file="/proc/self/status", said=error.strerror or str(error)))
    return Unknown(say("no_peak_from_kernel"))


def reset_peak() -> bool:
    """Start the peak anew from the memory held now; False where the kernel does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def machine_memory() -> tuple[int, int]:
    """Total and available main memory of this machine or container, in bytes."""
    memory = psutil.virtual_memory()
    total, available = int(memory.total), int(memory.available)
    limit, used = (
        _cgroup("memory.max", "memory/memory.limit_in_bytes"),
        _cgroup("memory.current", "memory/memory.usage_in_bytes"),
    )
    if limit is not None and used is not None and limit < total:
        return limit, max(0, min(available, limit - used + _reclaimable()))
    return total, available


def _cgroup(*names: str) -> int | None:
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            return int((CGROUP / name).read_text())
    return None


def _reclaimable() -> int:
    """File cache that counts against the limit but is given back on demand, in bytes."""
    for name in ("memory.stat", "memory/memory.stat"):
        with contextlib.suppress(OSError, ValueError):
            for line in (CGROUP / name).read_text().splitlines():
                if line.startswith(("inactive_file ", "total_inactive_file ")):
                    return int(line.split()[1])
    return 0
