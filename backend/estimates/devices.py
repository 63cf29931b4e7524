"""The GPU that an answer is for: one of the catalogue, with what this server's own runs measured of it.

Estimates, advice, explanations, traces and suggestions after a failure all take their GPU from here, so that one job never has
two answers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from backend.measured.accuracy import calibrations
from backend.measured.schemas import Calibration
from tunescope.events import FailureMemory
from tunescope.memory.devices import DEFAULT_DEVICE, Device, device_named
from tunescope.problems import InvalidInput


def device_for(session: Session, gpu: str | None) -> tuple[Device, Calibration | None]:
    """The GPU of the catalogue that a request names, else the reference GPU. Raises InvalidInput for an unknown name."""
    return calibrated(session, device_named(gpu) if gpu else DEFAULT_DEVICE)


def calibrated(session: Session, device: Device) -> tuple[Device, Calibration | None]:
    """``device`` with the CUDA context that this server's own runs on that kind of GPU had, if they are enough.

    Context is measured and replaces the default; fragmentation is only shown, and tensor terms are never touched.
    """
    for found in calibrations(session):
        kind = of_the_catalogue(found.device)
        if kind is not None and kind.name == device.name:
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
    known = of_the_catalogue(name)
    if known is None:
        return Device(name, total_bytes)
    return replace(calibrated(session, known)[0], name=name, total_bytes=total_bytes)


def of_the_catalogue(name: str) -> Device | None:
    try:
        return device_named(name)
    except InvalidInput:
        return None
