"""A step's figures as the rules of watch.py see them."""

from worker.probes.host import machine_memory
from worker.probes.nvml_memory import Memory
from worker.trainer.meter.meter import ALLOCATED, HOST, PROCESS, RESERVED, StepFigures
from worker.trainer.meter.sources import device_now
from worker.trainer.watch import StepFacts


def facts_of(step: int, figures: StepFigures) -> StepFacts:
    """On a GPU its own memory counts; on the CPU main memory, which all processes share."""
    if figures.allocator is None:
        total, available = machine_memory()
        return StepFacts(
            step=step,
            longest_tokens=figures.longest_tokens,
            used=figures.of(HOST).peak_bytes,
            device_used=total - available,
            device_total=total,
        )
    device, process = device_now(), figures.of(PROCESS).bytes
    told = isinstance(device, Memory)
    return StepFacts(
        step=step,
        longest_tokens=figures.longest_tokens,
        allocated_peak=figures.of(ALLOCATED).peak_bytes,
        reserved=figures.of(RESERVED).bytes,
        retries=figures.allocator.retries,
        used=figures.of(ALLOCATED).peak_bytes,
        others=max(0, device.held - process) if told and process is not None else None,
        device_used=device.used if told else None,
        device_total=device.total if told else None,
    )
