"""What the workers said last of their machines."""

import logging
from functools import lru_cache
from typing import Any

import redis
from pydantic import ValidationError

from backend.redis_writes import refusal
from tunescope import wire
from tunescope.sentences import Sentence, say

log = logging.getLogger(__name__)


def reports(connection: redis.Redis) -> list[wire.MachineReport]:
    """The newest report of each machine whose worker is connected. Raises redis.RedisError."""
    keys = sorted(connection.scan_iter(wire.MACHINES))
    values: list[Any] = connection.mget(keys) if keys else []  # pyright: ignore[reportAssignmentType]
    read = (_report(key, value) for key, value in zip(keys, values, strict=True) if value)
    return [report for report in read if report]


def unheard(connection: redis.Redis) -> Sentence | None:
    """Why no machine is heard of though its worker may run; None where that is not known. Raises redis.RedisError."""
    said = refusal(connection)
    return say("redis_refuses", said=said) if said else None


def connected_gpus(connection: redis.Redis) -> list[tuple[str, wire.GpuReport]]:
    """(machine, GPU) of every GPU that jobs can be given, MIG instances in the place of theirs; none while Redis is away."""
    try:
        machines = reports(connection)
    except redis.RedisError:
        return []
    return [(machine.name, gpu) for machine in machines for gpu in machine.gpus if not gpu.divided]


def _report(key: Any, value: Any) -> wire.MachineReport | None:
    """One machine's report; None where it cannot be read: the other machines are still there."""
    try:
        return wire.MachineReport.model_validate_json(value)
    except ValidationError as error:
        fields = {".".join(str(part) for part in item["loc"]) or item["msg"] for item in error.errors()}
        _complain(key.decode() if isinstance(key, bytes) else str(key), ", ".join(sorted(fields)))
        return None


@lru_cache(maxsize=256)
def _complain(key: str, fields: str) -> None:
    """Once for each: reports are read every second."""
    log.error("%s cannot be read and is left out; is the worker newer than the server? Wrong there: %s", key, fields)
