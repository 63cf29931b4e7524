"""What GPUs and memory this machine has, how full they are, and which of our jobs fills them."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping

import psutil

from tunescope.wire import GpuProcess, GpuReport, MachineReport
from worker.probes.host import machine_memory
from worker.probes.nvml import Gpu, Nvml, Process
from worker.probes.reading import Unknown

REPORTED = ("torch", "transformers", "trl", "peft", "bitsandbytes")


class Inventory:
    """Builds MachineReports."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._nvml = Nvml()
        self._versions = installed_versions()

    def report(self, running: Mapping[str, int | None]) -> MachineReport:
        """The machine now. ``running`` maps each job here to the process id that leads its group, once it has one."""
        total, available = machine_memory()
        gpus = self._nvml.gpus()
        leaders = {pid: job for job, pid in running.items() if pid is not None}
        return MachineReport(
            name=self._machine,
            at=time.time(),
            gpus=[] if isinstance(gpus, Unknown) else [gpu_report(gpu, leaders) for gpu in gpus],
            gpus_unknown_because=gpus.because if isinstance(gpus, Unknown) else None,
            host_total_bytes=total,
            host_available_bytes=available,
            cpu_count=usable_cpus(),
            running=sorted(running),
            versions=self._versions,
        )

    def close(self) -> None:
        self._nvml.close()


def gpu_report(gpu: Gpu, leaders: Mapping[int, str]) -> GpuReport:
    """A GPU as the wire tells it; what is unknown is listed with its reason."""
    report = GpuReport(uuid=gpu.uuid, index=gpu.index, name=gpu.name)
    if isinstance(gpu.memory, Unknown):
        report.unknown["memory"] = gpu.memory.because
    else:
        report.total_bytes, report.used_bytes, report.free_bytes = gpu.memory.total, gpu.memory.used, gpu.memory.free
    for name in ("utilization_percent", "temperature_celsius", "power_watts"):
        value: float | Unknown = getattr(gpu, name)
        if isinstance(value, Unknown):
            report.unknown[name] = value.because
        else:
            setattr(report, name, value)
    if isinstance(gpu.processes, Unknown):
        report.unknown["processes"] = gpu.processes.because
    else:
        report.processes = [process_report(process, leaders) for process in gpu.processes]
    return report


def process_report(process: Process, leaders: Mapping[int, str]) -> GpuProcess:
    try:
        group, name = os.getpgid(process.pid), psutil.Process(process.pid).name()
    except (ProcessLookupError, PermissionError, psutil.Error):
        group, name = process.pid, None
    return GpuProcess(
        pid=process.pid,
        name=name,
        used_bytes=None if isinstance(process.used, Unknown) else process.used,
        job=leaders.get(group),
    )


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_versions() -> dict[str, str]:
    """Versions of Python and the training libraries, read without importing them."""
    found = {"python": platform.python_version()}
    for package in REPORTED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
