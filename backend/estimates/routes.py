"""Estimates over HTTP: the same function as Python, CLI and page use."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from backend.dependencies import CurrentUser, RedisDep, SessionDep, SettingsDep
from backend.estimates import resolve
from backend.estimates.devices import device_for, gpus_here
from backend.estimates.schemas import AdviceRequest, EstimateRequest, ExplanationRequest
from backend.estimates.server_gpus import server_gpus
from backend.jobs.reservation import reserve
from tunescope.memory.advise import advise
from tunescope.memory.catalogue import entries
from tunescope.memory.devices import DEFAULT_DEVICE, DEVICES
from tunescope.memory.explain import explain
from tunescope.memory.stack import DEFAULT
from tunescope.problems import InvalidInput
from tunescope.recipes import load_recipes
from tunescope.recipes.published import load_published
from tunescope.spec import JobSpec

router = APIRouter()


@router.post("/estimates", tags=["estimates"], name="create")
def create_estimate(
    body: EstimateRequest, session: SessionDep, settings: SettingsDep, connection: RedisDep, _user: CurrentUser
) -> dict[str, Any]:
    """Bytes of VRAM at the job's peak on one GPU, by category, and which of the server's GPUs would take it."""
    device, calibration = device_for(session, body.gpu, connection)
    stack = body.chosen_stack() or DEFAULT
    as_queued = (device.name, stack) == (DEFAULT_DEVICE.name, DEFAULT)
    with resolve.below("spec", resolve.BESIDE):
        found = resolve.estimate_spec(session, settings, body.spec, device, stack, body.config)
        # The queue knows a job by its own estimate, whatever card or versions are asked about here.
        queued = found if as_queued else resolve.estimate_spec(session, settings, body.spec, config=body.config)
    reserved = reserve(queued.total_bytes, None, body.spec.placement.gpu_memory_margin, proven=False) or 0
    return {
        **found.to_dict(),
        "calibration": calibration.model_dump() if calibration else None,
        "reserve_bytes": reserved,
        "gpus": [gpu.model_dump() for gpu in server_gpus(connection, reserved)],
    }


@router.get("/spec/schema", tags=["spec"], name="schema")
def spec_schema(_user: CurrentUser) -> dict[str, Any]:
    """JSON schema of a JobSpec with every default and help text."""
    return JobSpec.model_json_schema()


class CatalogueModel(BaseModel):
    id: str
    parameters: int | None


class KnownGpu(BaseModel):
    name: str
    total_bytes: int


class Catalogue(BaseModel):
    models: list[CatalogueModel]
    gpus: list[KnownGpu]
    server_gpus: list[KnownGpu] = Field(
        description="Those of the connected machines, one of each name, the largest first; empty where there is none."
    )


@router.get("/catalogue", tags=["catalogue"], name="show")
def show_catalogue(connection: RedisDep, _user: CurrentUser) -> Catalogue:
    """Models whose dimensions are known, and GPUs that an estimate can be made for."""
    models = [CatalogueModel(id=name, parameters=entry.get("parameters")) for name, entry in entries().items()]
    here = sorted(gpus_here(connection).values(), key=lambda gpu: -gpu.total_bytes)
    return Catalogue(
        models=sorted(models, key=lambda model: model.id.lower()),
        gpus=[KnownGpu(name=gpu.name, total_bytes=gpu.total_bytes) for gpu in DEVICES.values()],
        server_gpus=[KnownGpu(name=gpu.name, total_bytes=gpu.total_bytes) for gpu in here],
    )


@router.post("/explanations", tags=["explanations"], name="create")
def create_explanation(
    body: ExplanationRequest, session: SessionDep, settings: SettingsDep, connection: RedisDep, _user: CurrentUser
) -> dict[str, Any]:
    """Why b needs more or less memory than a: bytes for each section, summing exactly to the difference."""
    around = resolve.Around(session, settings, device_for(session, body.gpu, connection)[0], body.chosen_stack())
    a, b = around.subject(body.a, "a"), around.subject(body.b, "b")
    try:
        return explain(a, b, body.language).to_dict()
    except InvalidInput:
        resolve.estimate_sides(a=a, b=b)  # tells which side cannot be estimated
        raise


@router.post("/advice", tags=["advice"], name="create")
def create_advice(
    body: AdviceRequest, session: SessionDep, settings: SettingsDep, connection: RedisDep, _user: CurrentUser
) -> dict[str, Any]:
    """The changes that save most memory for the least cost, and what fits."""
    around = resolve.Around(session, settings, device_for(session, body.gpu, connection)[0], body.chosen_stack())
    with resolve.below("spec", resolve.BESIDE):
        it = around.of_spec(body.spec.name, body.spec, config=body.config)
        return advise(it.spec, it.architecture, it.device, it.lengths, it.stack, body.language).to_dict()


@router.get("/recipes", tags=["recipes"], name="list")
def list_recipes(_user: CurrentUser) -> dict[str, Any]:
    """Published recipes as job specs, each with its source."""
    return {"items": [recipe.to_dict() for recipe in load_recipes().values()]}


@router.get("/published", tags=["recipes"], name="published")
def list_published(_user: CurrentUser) -> dict[str, Any]:
    """Published measurements, each with its source and settings; ``recipe`` names the recipe they were made with."""
    return {"items": [item.to_dict() for item in load_published()]}
