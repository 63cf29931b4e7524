"""What GPUs and memory this machine has, how full they are, and which of our jobs fills them."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from typing import Any

import psutil

from tunescope.wire import GpuProcess, GpuReport, MachineReport
from worker.probes.host import machine_memory
from worker.probes.nvml import Gpu, Nvml
from worker.probes.nvml_memory import Process
from worker.probes.process_groups import group_of, unmatched
from worker.probes.reading import Unknown

REPORTED = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "tunescope")
"""What decides a trace, which is kept by these versions: another release of the tracer may count differently, too."""
PLAIN = (
    "compute_capability",
    "utilization_percent",
    "temperature_celsius",
    "power_watts",
    "power_limit_watts",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "ecc_volatile_uncorrected",
    "ecc_aggregate_uncorrected",
)
"""Figures that have one name in probe and report."""


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
            gpus_unknown_sentence=gpus.sentence if isinstance(gpus, Unknown) else None,
            host_total_bytes=total,
            host_available_bytes=available,
            cpu_count=usable_cpus(),
            running=sorted(running),
            versions=self._versions | ({} if isinstance(gpus, Unknown) else self._nvml.versions()),
        )

    def close(self) -> None:
        self._nvml.close()


def gpu_report(gpu: Gpu, leaders: Mapping[int, str]) -> GpuReport:
    """A GPU as the wire tells it; what is unknown is listed with its reason."""
    report = GpuReport(
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        parent=gpu.parent,
        divided=gpu.divided,
        unusable_because=gpu.unusable.text if gpu.unusable else None,
        unusable_sentence=gpu.unusable,
    )
    if isinstance(gpu.memory, Unknown):
        _miss(report, "memory", gpu.memory)
    else:
        report.total_bytes, report.used_bytes, report.free_bytes = gpu.memory.total, gpu.memory.used, gpu.memory.free
        _tell(report, "reserved_bytes", gpu.memory.reserved)
    for name in PLAIN:
        _tell(report, name, getattr(gpu, name))
    for name in ("throttling", "xids"):
        value = getattr(gpu, name)
        _tell(report, name, value if isinstance(value, Unknown) else list(value))
    if isinstance(gpu.processes, Unknown):
        _miss(report, "processes", gpu.processes)
    else:
        other_numbers = unmatched(process.pid for process in gpu.processes)
        if other_numbers:
            _miss(report, "jobs", other_numbers)
        report.processes = [process_report(process, leaders, other_numbers is None) for process in gpu.processes]
    return report


def _tell(report: GpuReport, name: str, value: Any) -> None:
    if isinstance(value, Unknown):
        _miss(report, name, value)
    else:
        setattr(report, name, value)


def _miss(report: GpuReport, name: str, why: Unknown) -> None:
    report.unknown[name] = why.because
    report.unknown_sentences[name] = why.sentence


def process_report(process: Process, leaders: Mapping[int, str], matched: bool) -> GpuProcess:
    """A process as the wire tells it; who it is, only where its number is ``matched`` with ours."""
    report = GpuProcess(pid=process.pid, used_bytes=None if isinstance(process.used, Unknown) else process.used)
    if not matched:
        return report
    report.job = leaders.get(group_of(process.pid) or process.pid)
    try:
        running = psutil.Process(process.pid)
        report.name, report.user = running.name(), running.username()
    except (psutil.Error, KeyError):
        pass
    return report


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_versions() -> dict[str, str]:
    """Versions of Python, the training libraries and this product, read without importing them."""
    found = {"python": platform.python_version()}
    for package in REPORTED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
