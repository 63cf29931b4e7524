"""What no tensor accounts for: the allocator's holes, CUDA's own context, other processes; or why that is unknown."""

from dataclasses import dataclass

from tunescope.events import MemoryFigure
from tunescope.sentences import say
from worker.probes.reading import Bytes, Unknown, figure

FRAGMENTATION, CONTEXT, OTHERS = "fragmentation", "runtime_context", "other_processes"
ON_CPU = {
    FRAGMENTATION: Unknown(say("cpu_no_fragmentation")),
    CONTEXT: Unknown(say("cpu_no_context")),
    OTHERS: Unknown(say("cpu_shared_memory")),
}


@dataclass(frozen=True)
class CudaMoment:
    """Figures of one step on a GPU, in bytes: the allocator's peaks, and NVML's words at the step's end.

    ``held``: by all processes on the GPU; what the driver keeps for itself is nobody's.
    """

    allocated_peak: int
    reserved_peak: int
    reserved_now: int
    process: Bytes
    held: Bytes


def outside_cuda(moment: CudaMoment) -> list[MemoryFigure]:
    """Fragmentation = reserved - allocated, context = NVML's process - reserved, others = what all processes hold - process."""
    context: Bytes = moment.process
    if isinstance(moment.process, int):
        context = moment.process - moment.reserved_now
        if context < 0:
            context = Unknown(say("less_than_reserved"))
    others: Bytes = moment.held
    if isinstance(moment.held, int):
        others = max(0, moment.held - moment.process) if isinstance(moment.process, int) else moment.process
    return [
        figure(FRAGMENTATION, moment.reserved_peak - moment.allocated_peak),
        figure(CONTEXT, context),
        figure(OTHERS, others),
    ]


def outside_cpu() -> list[MemoryFigure]:
    return [figure(source, unknown) for source, unknown in ON_CPU.items()]
