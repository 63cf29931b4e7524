"""Resolve what a spec refers to (model, GPU, recipe, job), so that the arithmetic after it needs no I/O."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from sqlalchemy.orm import Session

from backend.datasets.lengths import lengths_of
from backend.estimates.devices import device_for
from backend.jobs.tables import TRAIN, JobRow
from backend.models.hub_config import hub_config
from backend.models.service import find_model, read_config
from tunescope.memory.architecture import Architecture
from tunescope.memory.catalogue import in_catalogue
from tunescope.memory.devices import Device
from tunescope.memory.estimate import Estimate, estimate, workload
from tunescope.memory.explain import Subject
from tunescope.memory.model_config import architecture_for, config_for
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.problems import FieldError, InvalidInput, Problem
from tunescope.recipes import load_recipes
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.spec import LIMITS, JobSpec, patched
from tunescope.stored_spec import stored_spec
from tunescope.validation import BRANCH, NO_SIDE


def own_config(session: Session, settings: ServerSettings, spec: JobSpec) -> dict[str, Any] | None:
    """config.json of a model that is not the catalogue's: from this server's library, or from its hub.

    None for the catalogue's, and for a library model that is not prepared yet. Raises InvalidInput where a hub has none.
    """
    if spec.model.source == "library":
        found = find_model(session, settings, spec.model.id)
        prepared = found is not None and (Path(found.path) / "config.json").is_file()
        return read_config(found.path) if found and prepared else None
    if spec.model.source == "catalogue" or in_catalogue(spec.model.id):
        return None
    return hub_config(settings, spec.model)


def architecture_of(
    session: Session, settings: ServerSettings, spec: JobSpec, config: dict[str, Any] | None = None
) -> Architecture:
    """The dimensions of a spec's model, of its ``config`` where that is given. Raises InvalidInput where they are not known."""
    return architecture_for(spec, own_config(session, settings, spec) if config is None else config)


def config_of(session: Session, settings: ServerSettings, spec: JobSpec) -> dict[str, Any]:
    """config.json of a spec's model. Raises InvalidInput where it is not known."""
    return config_for(spec, own_config(session, settings, spec))


def estimate_spec(
    session: Session,
    settings: ServerSettings,
    spec: JobSpec,
    device: Device | None = None,
    stack: Stack | None = None,
    config: dict[str, Any] | None = None,
) -> Estimate:
    """The estimate of a spec, by default on the reference GPU with the worker's own library versions."""
    lengths = lengths_of(session, settings, spec)
    device = device or device_for(session, None)[0]
    return estimate(spec, architecture_of(session, settings, spec, config), device, lengths, stack or DEFAULT)


def estimate_or_problem(
    session: Session, settings: ServerSettings, spec: JobSpec
) -> tuple[dict[str, Any] | None, Problem | None]:
    """The estimate of a job, or why there is none: an unknown architecture must not keep a job from running."""
    try:
        return estimate_spec(session, settings, spec).to_dict(), None
    except Problem as error:
        return None, error


LONGEST_NAME = 100
"""Of a recipe's name or a job's id, in characters."""


class Changed(BaseModel):
    """A recipe or job with some fields changed; unlike a spec of its own it keeps the recipe's library versions."""

    model_config = ConfigDict(extra="forbid")
    of: str = Field(max_length=LONGEST_NAME, description="Name of a recipe, or id of a job.")
    changes: dict[str, Any] = Field(description="New values by dotted path, such as {data.max_length: 2048}.")


def kind_of_side(given: Any) -> str | None:
    """Which of the kinds a side is meant as, so that what is wrong with it is told for that kind alone."""
    if isinstance(given, str):
        return f"{BRANCH}name"
    if isinstance(given, Changed) or (isinstance(given, dict) and "of" in given):
        return f"{BRANCH}changed"
    return f"{BRANCH}spec" if isinstance(given, dict | JobSpec) else None


Side = Annotated[
    Annotated[JobSpec, Tag(f"{BRANCH}spec")]
    | Annotated[Changed, Tag(f"{BRANCH}changed")]
    | Annotated[str, Field(max_length=LONGEST_NAME), Tag(f"{BRANCH}name")],
    Discriminator(
        kind_of_side,
        custom_error_type=NO_SIDE,
        custom_error_message="is neither a spec nor a name",
        custom_error_context={"fix": "give a spec, the name of a recipe, or the id of a job"},
    ),
]
"""A spec, a recipe or job with changed fields, or the name of a recipe or id of a job."""


BESIDE = ("config",)
"""Of a request with one spec: what it gives beside it, and what is wrong with it is told by that name."""


@contextmanager
def below(field: str, beside: Sequence[str] = ()) -> Generator[None]:
    """What is wrong with a spec that is a part of the input is told by its path in the input: below ``field``.

    So it is named as the checks of its types name it, before anything is looked up. ``beside``: not of the spec.
    """
    try:
        yield
    except InvalidInput as error:
        placed = [
            item if item.loc.split(".", 1)[0] in beside else replace(item, loc=f"{field}.{item.loc}".rstrip("."))
            for item in error.errors
        ]
        raise InvalidInput(error.detail_sentence, error.fix_sentence or "", errors=placed) from error


@dataclass(frozen=True)
class Around:
    """What an answer about specs is made with: where their models and data are, the GPU, and the library versions.

    ``stack`` None: those of a recipe for a recipe, else the worker's own.
    """

    session: Session
    settings: ServerSettings
    device: Device
    stack: Stack | None = None

    def subject(self, side: Side, field: str) -> Subject:
        """One side of an explanation. Raises InvalidInput with paths below ``field``."""
        with below(field):
            return self._resolved(side)

    def _resolved(self, side: Side) -> Subject:
        if isinstance(side, JobSpec):
            return self.of_spec(side.name, side)
        name, changes = (side.of, side.changes) if isinstance(side, Changed) else (side, {})
        recipe = load_recipes().get(name)
        if recipe is not None:
            spec = patched(recipe.spec, changes)
            architecture = architecture_of(self.session, self.settings, spec)
            return Subject(recipe.title, spec, architecture, self.device, stack=self.stack or recipe.stack)
        row = self.session.get(JobRow, name)
        if row is None or row.task != TRAIN:
            fix = "give a spec, the name of a recipe, or the id of a job"
            error = FieldError("", f"{name} is neither recipe nor job", fix, "neither_recipe_nor_job", {"name": name})
            raise InvalidInput(say("nothing_to_compare"), errors=[error])
        spec = stored_spec(row.spec)
        # As it was stored, it may be refused by now and can be explained all the same.
        spec = patched(spec, changes) if changes else spec
        return self.of_spec(row.name, spec, None if changes else row.peak_gpu_bytes)

    def of_spec(
        self, name: str, spec: JobSpec, measured_bytes: int | None = None, config: dict[str, Any] | None = None
    ) -> Subject:
        architecture = architecture_of(self.session, self.settings, spec, config)
        lengths = lengths_of(self.session, self.settings, spec)
        return Subject(name, spec, architecture, self.device, lengths, self.stack or DEFAULT, measured_bytes)


def estimate_sides(**sides: Subject) -> None:
    """Raises InvalidInput for the first side that cannot be estimated, with paths below its name."""
    for field, it in sides.items():
        with below(field):
            estimate(it.spec, it.architecture, it.device, it.lengths, it.stack)


def padded_spec(session: Session, settings: ServerSettings, spec: JobSpec) -> JobSpec:
    """The spec with ``max_length`` as long as its longest micro batch really is, for a tracer that has no data.

    Rows may be shorter than a spec may say.
    """
    lengths = lengths_of(session, settings, spec)
    longest = workload(spec, architecture_of(session, settings, spec), lengths).sequence
    longest = max(longest, int(LIMITS["data.max_length"].low))
    return spec.model_copy(update={"data": spec.data.model_copy(update={"max_length": longest})})
