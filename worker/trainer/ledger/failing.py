"""What a trainer knows of its memory at the moment of a failure."""

import torch

from tunescope.events import FailureMemory
from tunescope.sentences import say
from worker.probes.host import machine_memory
from worker.probes.nvml_memory import Memory
from worker.probes.reading import Unknown
from worker.trainer.ledger.measuring import Measuring
from worker.trainer.meter.meter import HOST, PROCESS, Meter
from worker.trainer.meter.sources import device_now

NOT_HERE = Unknown(say("no_such_figure"))


def failing_memory(measuring: Measuring, meter: Meter) -> FailureMemory:
    """The moment's own account if the step was followed, else that of the newest measured step."""
    cuda = torch.cuda.is_available()
    memory = FailureMemory(
        device=torch.cuda.get_device_name(0) if cuda else "CPU",
        device_bytes=torch.cuda.get_device_properties(0).total_memory if cuda else machine_memory()[0],
        step=measuring.step,
        phase=meter.phase if measuring.step is not None else None,
        longest_tokens=meter.longest_tokens(),
    )
    if measuring.followed is not None:
        memory.categories = measuring.followed.live_now()
        measuring.followed.abandon()
    elif measuring.last is not None:
        memory.categories, memory.categories_of_step = measuring.last.categories, measuring.last.step
    if cuda:
        # The exception's frames still hold the tensors, but what was freed on the way out is gone: the peak is the truth.
        memory.allocated_bytes, memory.reserved_bytes = (
            torch.cuda.max_memory_allocated(0),
            torch.cuda.memory_reserved(0),
        )
        device, process = device_now(), meter.reading(PROCESS, NOT_HERE)
        if isinstance(device, Memory) and isinstance(process, int):
            memory.other_processes_bytes = max(0, device.held - process)
    else:
        resident = meter.reading(HOST, NOT_HERE)
        memory.allocated_bytes = resident if isinstance(resident, int) else None
    return memory
