"""What the workers said last of their machines."""

from typing import Any

import redis

from tunescope import wire


def reports(connection: redis.Redis) -> list[wire.MachineReport]:
    """The newest report of each machine whose worker is connected. Raises redis.RedisError."""
    keys = sorted(connection.scan_iter(wire.MACHINES))
    values: list[Any] = connection.mget(keys) if keys else []  # pyright: ignore[reportAssignmentType]
    return [wire.MachineReport.model_validate_json(value) for value in values if value]
