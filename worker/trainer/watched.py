"""A step's figures as the rules of watch.py see them."""

from worker.probes.host import machine_memory
from worker.probes.nvml_memory import Memory, device_memory
from worker.trainer.meter.meter import ALLOCATED, DEVICE, HOST, PROCESS, RESERVED, StepFigures
from worker.trainer.meter.sources import gpu_uuid
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
    memory = device_memory(gpu_uuid())
    device, process = figures.of(DEVICE).bytes, figures.of(PROCESS).bytes
    return StepFacts(
        step=step,
        longest_tokens=figures.longest_tokens,
        allocated_peak=figures.of(ALLOCATED).peak_bytes,
        reserved=figures.of(RESERVED).bytes,
        retries=figures.allocator.retries,
        used=figures.of(ALLOCATED).peak_bytes,
        others=max(0, device - process) if device is not None and process is not None else None,
        device_used=device,
        device_total=memory.total if isinstance(memory, Memory) else None,
    )
