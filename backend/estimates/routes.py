"""Estimates over HTTP: the same function as Python, CLI and page use."""

from typing import Any

import redis
from fastapi import APIRouter
from pydantic import BaseModel, Field

from backend.dependencies import CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.estimates import resolve
from backend.gpus.routes import reports
from tunescope.spec import JobSpec

router = APIRouter()


class EstimateRequest(BaseModel):
    spec: JobSpec
    gpu: str | None = Field(None, max_length=100, description="Name of a GPU of the catalogue; A100-80GB if not given.")


@router.post("/estimates", tags=["estimates"], name="create")
def create_estimate(
    body: EstimateRequest, session: SessionDep, settings: SettingsDep, connection: RedisDep, _user: CurrentUser
) -> dict[str, Any]:
    """Bytes of VRAM at the job's peak on one GPU, by category, and which of the server's GPUs would take it."""
    answer = resolve.estimate_spec(session, settings, body.spec, body.gpu).to_dict()
    return {**answer, "gpus": gpus_that_fit(connection, int(answer["total_bytes"]))}


def gpus_that_fit(connection: redis.Redis, total_bytes: int) -> list[dict[str, Any]]:
    try:
        machines = reports(connection)
    except redis.RedisError:
        return []
    return [
        {
            "machine": machine.name,
            "uuid": gpu.uuid,
            "name": gpu.name,
            "total_bytes": gpu.total_bytes,
            "free_bytes": gpu.free_bytes,
            "fits": None if gpu.free_bytes is None else total_bytes <= gpu.free_bytes,
        }
        for machine in machines
        for gpu in machine.gpus
    ]


@router.get("/spec/schema", tags=["spec"], name="schema")
def spec_schema(_user: CurrentUser) -> dict[str, Any]:
    """JSON schema of a JobSpec with every default and help text."""
    return JobSpec.model_json_schema()
