"""Data sets: every row is checked in a stream when the file arrives."""

import hashlib
import shutil
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.datasets.names import LONGEST_NAME, composed, is_name, name_from_file
from backend.datasets.tables import DatasetRow
from backend.users.service import new_id
from backend.users.tables import UserRow
from tunescope.datasets.reading import DatasetReport, check_dataset, is_text
from tunescope.problems import Conflict, FieldError, Forbidden, InvalidInput, NotFound, TooLarge
from tunescope.sentences import say
from tunescope.settings import ServerSettings

BUILTIN = "vram-questions"
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
CHUNK_BYTES = 1 << 20
TOLD_ROWS = 20
"""Of a file without a usable row, how many are told."""


def find_dataset(session: Session, name: str) -> DatasetRow | None:
    return session.scalar(select(DatasetRow).where(DatasetRow.name == composed(name)))


def get(session: Session, name: str) -> DatasetRow:
    row = find_dataset(session, name)
    if row is None:
        raise NotFound(say("no_such_dataset", name=name), say("see_datasets"))
    return row


def path_of(settings: ServerSettings, row: DatasetRow) -> Path:
    return settings.data_dir / row.path


def add(
    session: Session, settings: ServerSettings, owner: UserRow, name: str, file_name: str, stream: BinaryIO
) -> DatasetRow:
    """Keep an uploaded file and check its rows. Raises InvalidInput if none is usable; then nothing is kept."""
    name = composed(name) or name_from_file(file_name)
    if not is_name(name):
        fix = f"use letters, digits, dots, dashes and underscores, at most {LONGEST_NAME} of them"
        error = FieldError("name", "cannot be a data set's name", fix, "dataset_name_letters")
        raise InvalidInput(say("name_unusable"), errors=[error])
    suffix = Path(file_name).suffix.lower()
    if suffix not in SUFFIXES:
        message, choices = f"{file_name} is not a kind of data set file", ", ".join(SUFFIXES)
        values = {"file": file_name, "choices": choices}
        error = FieldError("file", message, f"use {choices}", "no_dataset_file", values)
        raise InvalidInput(say("unreadable_file"), errors=[error])
    if find_dataset(session, name) is not None:
        raise name_taken(name)
    folder = settings.datasets_dir() / new_id()
    folder.mkdir(parents=True)
    try:
        file = folder / f"data{suffix}"
        sha256 = receive(stream, file, settings.max_upload_bytes)
        row = check_and_register(session, settings, folder.name, name, file, sha256)
    except IntegrityError as error:  # somebody else's upload of the same name was quicker
        shutil.rmtree(folder, ignore_errors=True)
        raise name_taken(name) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    row.file_name = Path(file_name).name[:300]
    row.owner_id = owner.id
    return row


def name_taken(name: str) -> Conflict:
    return Conflict(say("dataset_name_taken", name=name), say("choose_another_or_delete"))


def receive(stream: BinaryIO, file: Path, limit: int) -> str:
    """Copy a stream to ``file``; returns its SHA-256. Raises TooLarge over ``limit`` bytes."""
    hashed = hashlib.sha256()
    received = 0
    with file.open("wb") as out:
        while chunk := stream.read(CHUNK_BYTES):
            received += len(chunk)
            if received > limit:
                raise TooLarge(
                    say("file_too_large", limit_bytes=limit),
                    say("split_file"),
                )
            hashed.update(chunk)
            out.write(chunk)
    return hashed.hexdigest()


def check_and_register(
    session: Session, settings: ServerSettings, dataset_id: str, name: str, file: Path, sha256: str
) -> DatasetRow:
    report = check_dataset(file)
    if report.rows == 0 or report.format is None:
        raise InvalidInput(
            say("file_empty" if report.empty else "file_without_rows"),
            say("row_formats"),
            errors=why_unusable(report, file),
        )
    row = DatasetRow(
        id=dataset_id,
        name=name,
        format=str(report.format),
        file_name=file.name,
        path=str(file.relative_to(settings.data_dir)),
        bytes=file.stat().st_size,
        rows=report.rows,
        sha256=sha256,
        problems=[
            {"line": problem.line, "message": problem.why.text, "message_sentence": problem.why.model_dump()}
            for problem in report.problems
        ],
        problem_count=report.problem_count,
        builtin=False,
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    return row


def why_unusable(report: DatasetReport, file: Path) -> list[FieldError]:
    """What is wrong with a file without a usable row: told once where it is wrong with the whole file, else row by row."""
    if report.empty:
        return [FieldError("file", "it holds no rows", "choose another file", "file_without_rows")]
    if file.suffix != ".parquet" and not is_text(file):
        fix = "choose another file, or save it as text in UTF-8"
        return [FieldError("file", "it is not text in UTF-8", fix, "file_not_text")]
    first = report.problems[0]
    if report.problem_count > 1 and len(report.kinds) == 1:
        message = f"all {report.problem_count} rows are wrong in the same way, as line {first.line}: {first.why.text}"
        values = {"rows": report.problem_count, "line": first.line, "why": first.why}
        return [FieldError("file", message, "mend them all, or choose another file", "file_wrong_throughout", values)]
    return [
        FieldError(
            f"file.line {problem.line}", problem.why.text, "mend the file there", "bad_row", {"why": problem.why}
        )
        for problem in report.problems[:TOLD_ROWS]
    ]


def register_builtin(session: Session, settings: ServerSettings) -> None:
    """Register the shipped data set at the first start, and again when a release ships a newer one."""
    with as_file(files("tunescope.datasets") / f"{BUILTIN}.jsonl") as shipped:
        sha256 = hashlib.sha256(shipped.read_bytes()).hexdigest()
        row = find_dataset(session, BUILTIN)
        if row is not None and row.sha256 == sha256 and path_of(settings, row).is_file():
            return
        if row is not None:
            session.delete(row)
            session.flush()
        folder = settings.datasets_dir() / new_id()
        folder.mkdir(parents=True)
        file = folder / f"{BUILTIN}.jsonl"
        shutil.copyfile(shipped, file)
    check_and_register(session, settings, folder.name, BUILTIN, file, sha256).builtin = True


def remove(session: Session, settings: ServerSettings, user: UserRow, name: str) -> None:
    row = get(session, name)
    if row.builtin:
        raise Conflict(say("dataset_stays"), say("upload_your_own"))
    if user.role != "admin" and row.owner_id != user.id:
        raise Forbidden(say("not_your_dataset"), say("ask_its_owner"))
    session.delete(row)
    session.flush()
    shutil.rmtree(path_of(settings, row).parent, ignore_errors=True)
