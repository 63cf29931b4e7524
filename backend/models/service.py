"""The library of models: directories that an admin added, and the demo model that is prepared on first use."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.models.tables import ModelRow
from backend.users.service import new_id
from tunescope import wire
from tunescope.memory.architecture import architecture_from_config
from tunescope.models import DEMO
from tunescope.problems import Conflict, FieldError, InvalidInput, NotFound, Problem
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings
from tunescope.spec import Model


@dataclass(frozen=True)
class LibraryModel:
    id: str
    name: str
    path: Path
    builtin: bool


def library(session: Session, settings: ServerSettings) -> list[LibraryModel]:
    """Every model of the library, the demo model first."""
    rows = session.scalars(select(ModelRow).order_by(ModelRow.name))
    added = [LibraryModel(row.id, row.name, Path(row.path), False) for row in rows]
    return [LibraryModel(DEMO, DEMO, settings.models_dir() / DEMO, True), *added]


def find_model(session: Session, settings: ServerSettings, name: str) -> LibraryModel | None:
    return next((model for model in library(session, settings) if model.name == name), None)


def reference(session: Session, settings: ServerSettings, model: Model) -> wire.ModelRef:
    """Where a worker finds a job's model. Raises InvalidInput if the library no longer has it."""
    if model.source == "library":
        found = find_model(session, settings, model.id)
        if found is None:
            raise InvalidInput(say("model_gone", model=model.id), say("add_again"))
        return wire.ModelRef(kind="demo" if found.builtin else "path", location=str(found.path.resolve()))
    kind = "modelscope" if model.source == "modelscope" else "huggingface"
    return wire.ModelRef(kind=kind, location=model.id, revision=model.revision)


def read_config(path: Path) -> dict[str, Any]:
    """config.json of a model directory. Raises InvalidInput naming the remedy."""
    file = path / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise bad_path(
            "there is no config.json in this directory", "give a directory saved by save_pretrained", "no_config_here"
        ) from error
    except (OSError, ValueError) as error:
        fix, values = "download the model again", {"said": str(error)}
        raise bad_path(f"config.json cannot be read: {error}", fix, "config_unreadable_here", values) from error
    if not isinstance(values, dict):
        raise bad_path("config.json is not an object", "download the model again", "config_no_object_here")
    return values


def bad_path(message: str, fix: str, type: str, values: Mapping[str, str] | None = None) -> InvalidInput:
    return InvalidInput(say("directory_no_model"), errors=[FieldError("path", message, fix, type, values or {})])


def add(session: Session, name: str, path: str) -> ModelRow:
    """Add a directory to the library. Raises InvalidInput for one without config.json or safetensors weights."""
    folder = Path(path)
    try:
        usable = folder.is_absolute() and folder.is_dir()
    except (OSError, ValueError):
        usable = False
    if not usable:
        raise bad_path(
            "this is not a directory on the server",
            "give the absolute path of a directory the server can read",
            "no_directory_here",
        )
    read_config(folder)
    if not any(folder.glob("*.safetensors")):
        raise bad_path(
            "there are no *.safetensors weights in it",
            "convert the weights with save_pretrained(safe_serialization=True)",
            "no_safetensors_here",
        )
    if name == DEMO:
        raise Conflict(say("is_demo_model", model=DEMO), say("choose_another_name"))
    row = ModelRow(id=new_id(), name=name, path=str(folder), created_at=time.time())
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(say("model_name_taken", name=name), say("choose_another_name")) from error
    return row


def remove(session: Session, model_id: str) -> None:
    """Forget a directory; its files stay."""
    row = session.get(ModelRow, model_id)
    if row is None:
        raise NotFound(say("no_such_model"), say("see_models"))
    session.delete(row)


def describe(model: LibraryModel) -> tuple[str, str | None, int | None, Sentence | None]:
    """(state, architecture name, bytes of the weights, note) of a library model."""
    if not (model.path / "config.json").is_file():
        if model.builtin:
            return "unprepared", "llama", None, say("prepared_on_use")
        return "broken", None, None, say("directory_gone")
    try:
        weights = [file.stat().st_size for file in model.path.glob("*.safetensors")]
        family = architecture_from_config(read_config(model.path)).family
    except Problem as error:
        return "ready", None, None, say("no_estimate_because", because=error.detail_sentence)
    if not weights:
        return "broken", family, None, say("weights_gone")
    return "ready", family, sum(weights), None
