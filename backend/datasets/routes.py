"""Data sets over HTTP: upload, list, preview, remove."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, UploadFile
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.datasets import preview, service
from backend.datasets.tables import DatasetRow
from backend.dependencies import CurrentUser, SessionDep, SettingsDep
from backend.users.tables import UserRow
from tunescope.sentences import Sentence

router = APIRouter(prefix="/datasets", tags=["datasets"])


class RowProblem(BaseModel):
    line: int
    message: str
    message_sentence: Sentence | None = None


class Dataset(BaseModel):
    id: str
    name: str
    format: str
    file_name: str
    bytes: int
    rows: int
    sha256: str
    problems: list[RowProblem]
    problem_count: int
    owner: str | None
    created_at: float
    builtin: bool


class Datasets(BaseModel):
    items: list[Dataset]


class PreviewRow(BaseModel):
    line: int
    raw: dict[str, Any]
    rendered: str | None
    tokens: int | None


class Preview(BaseModel):
    rows: list[PreviewRow]
    rendered_unknown_because: str | None
    rendered_unknown_sentence: Sentence | None
    lengths: dict[str, Any] | None


def dataset_of(session: Session, row: DatasetRow) -> Dataset:
    owner = session.get(UserRow, row.owner_id) if row.owner_id else None
    values = {column: getattr(row, column) for column in Dataset.model_fields if column != "owner"}
    return Dataset(owner=owner.username if owner else None, **values)


@router.get("", name="list")
def list_datasets(session: SessionDep, _user: CurrentUser) -> Datasets:
    """Data sets, newest first, with what was found in their rows."""
    rows = session.scalars(select(DatasetRow).order_by(DatasetRow.created_at.desc()))
    return Datasets(items=[dataset_of(session, row) for row in rows])


@router.post("", status_code=201, name="add")
def add_dataset(
    file: Annotated[UploadFile, File()],
    session: SessionDep,
    settings: SettingsDep,
    user: CurrentUser,
    name: Annotated[
        str,
        Form(
            max_length=service.LONGEST_NAME,
            description="From the file's name if not given, with dashes for what a name cannot have.",
        ),
    ] = "",
) -> Dataset:
    """Upload a file (.jsonl, .json, .csv or .parquet). Every row is checked; ``problems`` lists the bad ones by line."""
    row = service.add(session, settings, user, name, file.filename or "", file.file)
    return dataset_of(session, row)


@router.get("/{name}", name="show")
def show_dataset(name: str, session: SessionDep, _user: CurrentUser) -> Dataset:
    """One data set, with the problems of its rows."""
    return dataset_of(session, service.get(session, name))


@router.get("/{name}/rows", name="rows")
def dataset_rows(
    name: str,
    session: SessionDep,
    settings: SettingsDep,
    _user: CurrentUser,
    limit: Annotated[int, Query(ge=1, le=100, description="So many rows at most.")] = 10,
    model: Annotated[
        str | None, Query(max_length=400, description="Name or id of the model that renders them.")
    ] = None,
) -> Preview:
    """The first rows, as they are and as a model's chat template renders them, with their lengths in tokens."""
    row = service.get(session, name)
    return Preview.model_validate(preview.preview(session, settings, row, limit, model))


@router.delete("/{name}", status_code=204, name="remove")
def remove_dataset(name: str, session: SessionDep, settings: SettingsDep, user: CurrentUser) -> None:
    """Delete a data set. Its owner and admins only; a queued job that names it will fail and say so."""
    service.remove(session, settings, user, name)
