"""Which of this server's GPUs would take a job: the whole card, as the queue sees it, and what is free on it now."""

import redis
from pydantic import BaseModel, Field

from backend.gpus.reports import connected_gpus
from tunescope.sentences import Sentence
from tunescope.wire import GpuReport


class ServerGpu(BaseModel):
    """A GPU of a connected machine beside an estimate."""

    machine: str
    uuid: str
    index: int = Field(description="The driver's number of the GPU; of a MIG instance, that of its GPU.")
    name: str
    total_bytes: int | None
    free_bytes: int | None
    unusable_because: str | None = Field(description="Why no job can run on it, such as a lost GPU.")
    unusable_sentence: Sentence | None
    fits: bool | None = Field(
        description="The whole card is enough for the estimate and the spec's margin, as the queue counts; null where its "
        "size is unknown."
    )
    fits_now: bool | None = Field(
        description="What is free on it at this moment is enough, margin included; null where that is unknown."
    )


def server_gpus(connection: redis.Redis, reserve_bytes: int) -> list[ServerGpu]:
    """Every GPU of the connected machines; none while Redis is away. ``reserve_bytes`` is what the queue keeps for the job."""
    return [server_gpu(machine, gpu, reserve_bytes) for machine, gpu in connected_gpus(connection)]


def server_gpu(machine: str, gpu: GpuReport, reserve_bytes: int) -> ServerGpu:
    works = gpu.unusable_because is None
    return ServerGpu(
        machine=machine,
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        total_bytes=gpu.total_bytes,
        free_bytes=gpu.free_bytes,
        unusable_because=gpu.unusable_because,
        unusable_sentence=gpu.unusable_sentence,
        fits=works and enough(gpu.total_bytes, reserve_bytes),
        fits_now=works and enough(gpu.free_bytes, reserve_bytes),
    )


def enough(bytes_there: int | None, need_bytes: int) -> bool | None:
    return None if bytes_there is None else need_bytes <= bytes_there
