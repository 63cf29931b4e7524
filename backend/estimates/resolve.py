"""Resolve what a spec refers to (model, GPU, recipe, job), so that the arithmetic after it needs no I/O."""

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from backend.datasets.lengths import lengths_of
from backend.jobs.tables import JobRow
from backend.measured.accuracy import calibrated
from backend.models.service import find_model, read_config
from tunescope.memory.architecture import Architecture
from tunescope.memory.devices import DEFAULT_DEVICE, Device, device_named
from tunescope.memory.estimate import Estimate, estimate, workload
from tunescope.memory.explain import Subject
from tunescope.memory.model_config import architecture_for, config_for
from tunescope.problems import FieldError, InvalidInput, Problem
from tunescope.recipes import load_recipes
from tunescope.settings import ServerSettings
from tunescope.spec import JobSpec, parse_spec


def library_config(session: Session, settings: ServerSettings, spec: JobSpec) -> dict[str, Any] | None:
    """config.json of a model in this server's library; None for others, and for one that is not prepared yet."""
    if spec.model.source != "library":
        return None
    found = find_model(session, settings, spec.model.id)
    if found is None or not (Path(found.path) / "config.json").is_file():
        return None
    return read_config(found.path)


def architecture_of(session: Session, settings: ServerSettings, spec: JobSpec) -> Architecture:
    """The dimensions of a spec's model. Raises InvalidInput where they are not known."""
    return architecture_for(spec, library_config(session, settings, spec))


def config_of(session: Session, settings: ServerSettings, spec: JobSpec) -> dict[str, Any]:
    """config.json of a spec's model, in the library or the catalogue. Raises InvalidInput where it is not known."""
    return config_for(spec, library_config(session, settings, spec))


def estimate_spec(session: Session, settings: ServerSettings, spec: JobSpec, gpu: str | None = None) -> Estimate:
    lengths = lengths_of(session, settings, spec)
    device, _ = calibrated(session, device_of(gpu))
    return estimate(spec, architecture_of(session, settings, spec), device, lengths)


def device_of(gpu: str | None) -> Device:
    return device_named(gpu) if gpu else DEFAULT_DEVICE


def estimate_or_reason(
    session: Session, settings: ServerSettings, spec: JobSpec
) -> tuple[dict[str, Any] | None, str | None]:
    """The estimate of a job, or why there is none: an unknown architecture must not keep a job from running."""
    try:
        return estimate_spec(session, settings, spec).to_dict(), None
    except Problem as error:
        return None, str(error)


def subject_of(session: Session, settings: ServerSettings, side: JobSpec | str, field: str) -> Subject:
    """One side of an explanation. Raises InvalidInput naming ``field`` for a name that is neither recipe nor job."""
    if isinstance(side, JobSpec):
        return subject(session, settings, side.name, side)
    recipe = load_recipes().get(side)
    if recipe is not None:
        return Subject(recipe.title, recipe.spec, architecture_of(session, settings, recipe.spec), stack=recipe.stack)
    row = session.get(JobRow, side)
    if row is None:
        fix = "give a spec, the name of a recipe, or the id of a job"
        raise InvalidInput(
            "There is nothing to compare.", errors=[FieldError(field, f"{side} is neither recipe nor job", fix)]
        )
    return subject(session, settings, row.name, parse_spec(row.spec), row.peak_gpu_bytes)


def subject(
    session: Session, settings: ServerSettings, name: str, spec: JobSpec, measured_bytes: int | None = None
) -> Subject:
    architecture, lengths = architecture_of(session, settings, spec), lengths_of(session, settings, spec)
    return Subject(name, spec, architecture, lengths=lengths, measured_bytes=measured_bytes)


def padded_spec(session: Session, settings: ServerSettings, spec: JobSpec) -> JobSpec:
    """The spec with ``max_length`` as long as its longest micro batch really is, for a tracer that has no data."""
    lengths = lengths_of(session, settings, spec)
    longest = workload(spec, architecture_of(session, settings, spec), lengths).sequence
    return spec.model_copy(update={"data": spec.data.model_copy(update={"max_length": longest})})
