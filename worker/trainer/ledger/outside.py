"""What no tensor accounts for: the allocator's holes, CUDA's own context, other processes; or why that is unknown."""

from dataclasses import dataclass

from tunescope.events import MemoryFigure
from worker.probes.reading import Bytes, Unknown, figure

FRAGMENTATION, CONTEXT, OTHERS = "fragmentation", "runtime_context", "other_processes"
ON_CPU = {
    FRAGMENTATION: "on the CPU memory comes from the C library, which does not tell what it holds in reserve",
    CONTEXT: "there is no CUDA context on the CPU: Python, libraries and data share the process's memory with the tensors",
    OTHERS: "on the CPU tensors lie in main memory, which all processes share; see the machine's page",
}


@dataclass(frozen=True)
class CudaMoment:
    """Figures of one step on a GPU, in bytes: the allocator's peaks, and NVML's words at the step's end."""

    allocated_peak: int
    reserved_peak: int
    reserved_now: int
    process: Bytes
    device: Bytes


def outside_cuda(moment: CudaMoment) -> list[MemoryFigure]:
    """Fragmentation = reserved - allocated, context = NVML's process - reserved, others = NVML's device - process."""
    context: Bytes = moment.process
    if isinstance(moment.process, int):
        context = moment.process - moment.reserved_now
        if context < 0:
            context = Unknown("NVML attributes less to this process than torch has reserved")
    others: Bytes = moment.device
    if isinstance(moment.device, int):
        others = Unknown(moment.process.because) if isinstance(moment.process, Unknown) else moment.process
        others = max(0, moment.device - others) if isinstance(others, int) else others
    return [
        figure(FRAGMENTATION, moment.reserved_peak - moment.allocated_peak),
        figure(CONTEXT, context),
        figure(OTHERS, others),
    ]


def outside_cpu() -> list[MemoryFigure]:
    return [figure(source, Unknown(reason)) for source, reason in ON_CPU.items()]
