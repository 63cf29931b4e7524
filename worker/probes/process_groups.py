"""Which of our processes the driver means by a number.

A container has process numbers of its own. Older drivers tell the host's numbers even there, newer ones translate; one cannot
ask which. So inside a container a list is believed only if each of its processes is one that we see holding CUDA's library.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from tunescope.sentences import say
from worker.probes.nvml_calls import ask, call
from worker.probes.nvml_memory import processes
from worker.probes.reading import Bytes, Unknown

HOST_NAMESPACE = 0xEFFFFFFC
"""Inode of the first PID namespace: PROC_PID_INIT_INO of the Linux kernel's include/linux/proc_ns.h."""
_HOLDERS: dict[int, str] = {}
"""When the processes that were seen to hold CUDA began, by number: a map is too long to be read at every sample."""


def on_host_numbers(proc: Path = Path("/proc")) -> bool:
    """Whether this process sees the process numbers of the host, as the driver does."""
    try:
        return os.readlink(proc / "self/ns/pid") == f"pid:[{HOST_NAMESPACE}]"
    except OSError:
        return False


def holds_cuda(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether a process that we see has CUDA's driver library loaded. A yes is remembered while the process lives."""
    try:
        began = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        if _HOLDERS.get(pid) == began:
            return True
        if "/libcuda.so" in (proc / str(pid) / "maps").read_text(errors="replace"):
            _HOLDERS[pid] = began
            return True
    except (OSError, IndexError):
        pass
    return False


def unmatched(pids: Iterable[int], proc: Path = Path("/proc")) -> Unknown | None:
    """Why the driver's process numbers cannot be matched with ours; None if they can."""
    if on_host_numbers(proc) or all(holds_cuda(pid, proc) for pid in pids):
        return None
    return Unknown(say("other_process_numbers"))


def group_of(pid: int) -> int | None:
    """Process group of a process; None if there is no such process, or we may not know."""
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def process_memory(uuid: str, pid: int, proc: Path = Path("/proc")) -> Bytes:
    """Bytes of the GPU with this UUID that the driver attributes to a process and the others of its group, such as a trainer's."""
    found = ask(lambda: processes(call("nvmlDeviceGetHandleByUUID", uuid)))
    if isinstance(found, Unknown):
        return found
    group = group_of(pid)
    if group is None:
        return Unknown(say("process_ended", pid=pid))
    reason = unmatched((process.pid for process in found), proc)
    if reason:
        return reason
    ours = [process.used for process in found if group_of(process.pid) == group]
    if not ours:
        return Unknown(say("process_not_listed"))
    total = 0
    for used in ours:
        if isinstance(used, Unknown):
            return used
        total += used
    return total
