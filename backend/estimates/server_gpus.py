"""Which of this server's GPUs would take a job: the whole card, as the queue sees it, and what is free on it now."""

import redis
from pydantic import BaseModel, Field

from backend.gpus.reports import reports
from backend.jobs.reservation import reserve
from tunescope.wire import GpuReport


class ServerGpu(BaseModel):
    """A GPU of a connected machine beside an estimate."""

    machine: str
    uuid: str
    name: str
    total_bytes: int | None
    free_bytes: int | None
    fits: bool | None = Field(
        description="The whole card is enough for the estimate and the spec's margin, as the queue counts; null where its "
        "size is unknown."
    )
    fits_now: bool | None = Field(
        description="What is free on it at this moment is enough, margin included; null where that is unknown."
    )


def server_gpus(connection: redis.Redis, total_bytes: int, margin: float) -> list[ServerGpu]:
    """Every GPU of the connected machines; none while Redis is away. ``margin`` is the spec's gpu_memory_margin."""
    try:
        machines = reports(connection)
    except redis.RedisError:
        return []
    need = reserve(total_bytes, None, margin, proven=False) or total_bytes
    return [server_gpu(machine.name, gpu, need) for machine in machines for gpu in machine.gpus]


def server_gpu(machine: str, gpu: GpuReport, need_bytes: int) -> ServerGpu:
    works = gpu.unusable_because is None and not gpu.divided
    return ServerGpu(
        machine=machine,
        uuid=gpu.uuid,
        name=gpu.name,
        total_bytes=gpu.total_bytes,
        free_bytes=gpu.free_bytes,
        fits=works and enough(gpu.total_bytes, need_bytes),
        fits_now=works and enough(gpu.free_bytes, need_bytes),
    )


def enough(bytes_there: int | None, need_bytes: int) -> bool | None:
    return None if bytes_there is None else need_bytes <= bytes_there
