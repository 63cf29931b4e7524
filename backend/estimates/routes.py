"""Estimates over HTTP: the same function as Python, CLI and page use."""

from typing import Any

import redis
from fastapi import APIRouter
from pydantic import BaseModel, Field

from backend.dependencies import CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.estimates import resolve
from backend.gpus.reports import reports
from backend.measured.accuracy import calibrated
from tunescope.memory.advise import advise
from tunescope.memory.catalogue import entries
from tunescope.memory.devices import DEVICES
from tunescope.memory.explain import Language, explain
from tunescope.recipes import load_recipes
from tunescope.recipes.published import load_published
from tunescope.spec import JobSpec

router = APIRouter()


class EstimateRequest(BaseModel):
    spec: JobSpec
    gpu: str | None = Field(
        default=None, max_length=100, description="Name of a GPU of the catalogue; A100-80GB if not given."
    )


@router.post("/estimates", tags=["estimates"], name="create")
def create_estimate(
    body: EstimateRequest, session: SessionDep, settings: SettingsDep, connection: RedisDep, _user: CurrentUser
) -> dict[str, Any]:
    """Bytes of VRAM at the job's peak on one GPU, by category, and which of the server's GPUs would take it."""
    answer = resolve.estimate_spec(session, settings, body.spec, body.gpu).to_dict()
    _, calibration = calibrated(session, resolve.device_of(body.gpu))
    measured = {"calibration": calibration.model_dump() if calibration else None}
    return {**answer, **measured, "gpus": gpus_that_fit(connection, int(answer["total_bytes"]))}


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


class CatalogueModel(BaseModel):
    id: str
    parameters: int | None


class CatalogueGpu(BaseModel):
    name: str
    total_bytes: int


class Catalogue(BaseModel):
    models: list[CatalogueModel]
    gpus: list[CatalogueGpu]


@router.get("/catalogue", tags=["catalogue"], name="show")
def show_catalogue(_user: CurrentUser) -> Catalogue:
    """Models whose dimensions are known, and GPUs that an estimate can be made for."""
    models = [CatalogueModel(id=name, parameters=entry.get("parameters")) for name, entry in entries().items()]
    gpus = [CatalogueGpu(name=gpu.name, total_bytes=gpu.total_bytes) for gpu in DEVICES.values()]
    return Catalogue(models=sorted(models, key=lambda model: model.id.lower()), gpus=gpus)


class ExplanationRequest(BaseModel):
    """Two sides, each a spec, the name of a recipe, the id of a job, or one of the latter with changed fields."""

    a: resolve.Side
    b: resolve.Side
    language: Language = "en"


class AdviceRequest(EstimateRequest):
    language: Language = "en"


@router.post("/explanations", tags=["explanations"], name="create")
def create_explanation(
    body: ExplanationRequest, session: SessionDep, settings: SettingsDep, _user: CurrentUser
) -> dict[str, Any]:
    """Why b needs more or less memory than a: bytes for each section, summing exactly to the difference."""
    a, b = resolve.subjects_of(session, settings, body.a, body.b)
    return explain(a, b, body.language).to_dict()


@router.post("/advice", tags=["advice"], name="create")
def create_advice(
    body: AdviceRequest, session: SessionDep, settings: SettingsDep, _user: CurrentUser
) -> dict[str, Any]:
    """The changes that save most memory for the least cost, and what fits."""
    it = resolve.subject(session, settings, body.spec.name, body.spec)
    device = resolve.device_of(body.gpu)
    return advise(it.spec, it.architecture, device, it.lengths, language=body.language).to_dict()


@router.get("/recipes", tags=["recipes"], name="list")
def list_recipes(_user: CurrentUser) -> dict[str, Any]:
    """Published recipes as job specs, each with its source."""
    return {"items": [recipe.to_dict() for recipe in load_recipes().values()]}


@router.get("/published", tags=["recipes"], name="published")
def list_published(_user: CurrentUser) -> dict[str, Any]:
    """Published measurements, each with its source and settings; ``recipe`` names the recipe they were made with."""
    return {"items": [item.to_dict() for item in load_published()]}
