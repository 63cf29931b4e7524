"""The GPU that an answer is for: one of this server's or of the catalogue, with what this server's own runs measured of it.

Estimates, advice, explanations, traces and suggestions after a failure all take their GPU from here, so that one job never has
two answers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import redis
from sqlalchemy.orm import Session

from backend.gpus.reports import connected_gpus
from backend.measured.accuracy import calibrations
from backend.measured.schemas import Calibration
from tunescope.events import FailureMemory
from tunescope.memory.devices import DEFAULT_DEVICE, Device, device_named
from tunescope.problems import InvalidInput


def device_for(
    session: Session, gpu: str | None, connection: redis.Redis | None = None
) -> tuple[Device, Calibration | None]:
    """The GPU that a request names, else the reference GPU: one that a worker of this server reports through ``connection``, by the
    driver's name and as large as it is, or one of the catalogue. Raises InvalidInput for an unknown name."""
    if gpu is None:
        return calibrated(session, DEFAULT_DEVICE)
    here = {} if connection is None else gpus_here(connection)
    device = here.get(gpu)
    if device is None:
        device = device_named(gpu, tuple(here))
    return calibrated(session, device)


def gpus_here(connection: redis.Redis) -> dict[str, Device]:
    """The GPUs of the connected machines that work, one of each name, the largest; none while Redis is away."""
    found: dict[str, Device] = {}
    for _, gpu in connected_gpus(connection):
        if gpu.unusable_because is not None or gpu.total_bytes is None:
            continue
        if gpu.total_bytes > (found[gpu.name].total_bytes if gpu.name in found else 0):
            found[gpu.name] = as_device(gpu.name, gpu.total_bytes, gpu.compute_capability)
    return found


def calibrated(session: Session, device: Device) -> tuple[Device, Calibration | None]:
    """``device`` with the CUDA context that this server's own runs on that kind of GPU had, if they are enough.

    Context is measured and replaces the default; fragmentation is only shown, and tensor terms are never touched.
    """
    kind = kind_of(device.name)
    for found in calibrations(session):
        if kind_of(found.device) == kind:
            return replace(device, context_bytes=found.context_bytes), found
    return device, None


def device_of_estimate(session: Session, estimate: Mapping[str, Any]) -> Device:
    """The GPU that a stored estimate was made for, of the size that it tells; the reference GPU where it tells none."""
    told = estimate.get("device")
    return sized(session, told["name"], told["total_bytes"]) if told else device_for(session, None)[0]


def device_that_failed(session: Session, memory: FailureMemory | None) -> Device | None:
    """The GPU that ran out of memory, with the size that it really has; None on the CPU."""
    if memory is None or memory.device == "CPU" or not memory.device_bytes:
        return None
    return sized(session, memory.device, memory.device_bytes)


def sized(session: Session, name: str, total_bytes: int) -> Device:
    """A GPU by its name, of the size that was told."""
    return calibrated(session, as_device(name, total_bytes))[0]


def as_device(name: str, total_bytes: int, capability: tuple[int, int] | None = None) -> Device:
    """A GPU as its driver tells it; what it can do is that of its kind in the catalogue where it is not told."""
    if capability is not None:
        return Device(name, total_bytes, capability=capability)
    return replace(of_the_catalogue(name) or Device(name, total_bytes), name=name, total_bytes=total_bytes)


def kind_of(name: str) -> str:
    """GPUs of one kind have one name in the catalogue, by whatever name the driver or a person calls them."""
    known = of_the_catalogue(name)
    return known.name if known else name


def of_the_catalogue(name: str) -> Device | None:
    try:
        return device_named(name)
    except InvalidInput:
        return None
