"""Machines and their GPUs, as their workers report them every few seconds."""

from typing import Any

import redis
from fastapi import APIRouter
from pydantic import BaseModel

from backend.dependencies import CurrentUser, RedisDep
from tunescope import wire
from tunescope.problems import Unavailable

router = APIRouter(prefix="/gpus", tags=["gpus"])


class Machines(BaseModel):
    machines: list[wire.MachineReport]


def reports(connection: redis.Redis) -> list[wire.MachineReport]:
    """The newest report of each machine whose worker is connected. Raises redis.RedisError."""
    keys = sorted(connection.scan_iter(wire.MACHINES))
    values: list[Any] = connection.mget(keys) if keys else []  # pyright: ignore[reportAssignmentType]
    return [wire.MachineReport.model_validate_json(value) for value in values if value]


@router.get("", name="list")
def list_gpus(connection: RedisDep, _user: CurrentUser) -> Machines:
    try:
        return Machines(machines=reports(connection))
    except redis.RedisError as error:
        raise Unavailable("Redis does not answer, so machines are unknown.", "Try again in a moment.") from error
