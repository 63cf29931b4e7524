"""The library of models over HTTP."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from backend.dependencies import CurrentAdmin, CurrentUser, SessionDep, SettingsDep
from backend.models import service
from tunescope.problems import Problem
from tunescope.sentences import Sentence, say

router = APIRouter(prefix="/models", tags=["models"])


class Model(BaseModel):
    id: str
    name: str
    source: Literal["library"] = "library"
    path: str | None
    builtin: bool
    state: Literal["ready", "unprepared", "broken"]
    architecture: str | None
    bytes: int | None
    note: str
    note_sentence: Sentence | None


class Models(BaseModel):
    items: list[Model]


class NewModel(BaseModel):
    name: str = Field(min_length=1, max_length=200, pattern=r"^[\w./ -]+$")
    path: str = Field(min_length=1, max_length=1000, description="Absolute path of a directory on the server.")


def model_of(model: service.LibraryModel) -> Model:
    try:
        state, architecture, size, note = service.describe(model)
    except Problem as error:
        state, architecture, size, note = "broken", None, None, error.detail_sentence
    except OSError as error:
        state, architecture, size, note = "broken", None, None, say("as_said", said=str(error))
    return Model.model_validate(
        {
            "id": model.id,
            "name": model.name,
            "path": None if model.builtin else str(model.path),
            "builtin": model.builtin,
            "state": state,
            "architecture": architecture,
            "bytes": size,
            "note": note.text if note else "",
            "note_sentence": note,
        }
    )


@router.get("", name="list")
def list_models(session: SessionDep, settings: SettingsDep, _user: CurrentUser) -> Models:
    """Models of this server's library."""
    return Models(items=[model_of(model) for model in service.library(session, settings)])


@router.post("", status_code=201, name="add")
def add_model(body: NewModel, session: SessionDep, settings: SettingsDep, _admin: CurrentAdmin) -> Model:
    """Add a directory of the server to the library: config.json and ``*.safetensors``. Admins only."""
    row = service.add(session, body.name, body.path)
    return next(model_of(model) for model in service.library(session, settings) if model.id == row.id)


@router.delete("/{model_id}", status_code=204, name="remove")
def remove_model(model_id: str, session: SessionDep, _admin: CurrentAdmin) -> None:
    """Take a model out of the library; its files stay. Admins only."""
    service.remove(session, model_id)
