"""Where the files are that a job left, and which of them may leave the server."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.jobs.tables import JobRow
from backend.merges.tables import MergeRow
from backend.telemetry.tables import NOT_STEPS, EventRow
from tunescope.settings import ServerSettings
from tunescope.states import JobState

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
PICKLED = frozenset(("training_args.bin",))
"""What trainers of older releases left beside the result and nothing reads. It may run code when it is loaded."""


@dataclass(frozen=True)
class Kept:
    """A file that a job's newest attempt left, or the merge of its adapter, and that is still there."""

    name: str
    bytes: int
    sha256: str | None
    path: Path


def kept(session: Session, settings: ServerSettings, row: JobRow) -> list[Kept]:
    """What is left of what the workers told, by name."""
    found: dict[str, Kept] = {}
    for source in sources(session, row):
        told = select(EventRow.data).where(
            EventRow.job == source.id, EventRow.attempt == source.attempt, EventRow.kind == "artifact", NOT_STEPS
        )
        folder = artifacts_dir(settings, source)
        for data in session.scalars(told):
            if path := inside(folder, data["name"]):
                found[data["name"]] = Kept(data["name"], data["bytes"], data["sha256"], path)
    return [found[name] for name in sorted(found)]


def file_of(session: Session, settings: ServerSettings, row: JobRow, name: str) -> Path | None:
    """One file by its name, if it may be handed out."""
    paths = (inside(artifacts_dir(settings, source), name) for source in sources(session, row))
    return next((path for path in paths if path), None)


def sources(session: Session, row: JobRow) -> list[JobRow]:
    """The jobs whose folders hold a job's files: itself, and the merge of what its newest attempt left, once that is done."""
    merge = select(JobRow).join(MergeRow, MergeRow.job == JobRow.id)
    of_this = (MergeRow.result_of == row.id, MergeRow.of_attempt == row.attempt, JobRow.state == JobState.SUCCEEDED)
    return [row, *session.scalars(merge.where(*of_this))]


def left_adapter(settings: ServerSettings, row: JobRow) -> bool:
    """Whether the newest attempt left an adapter, and not a whole model or nothing."""
    return all((artifacts_dir(settings, row) / name).is_file() for name in ADAPTER)


def artifacts_dir(settings: ServerSettings, row: JobRow) -> Path:
    """The folder of the newest attempt's files, links resolved; it need not be there."""
    return (settings.attempt_dir(row.id, row.attempt) / "artifacts").resolve()


def inside(folder: Path, name: str) -> Path | None:
    """The file ``name`` of ``folder``, resolved, if it is one, lies there and may be handed out.

    A name is what a request or a worker says: neither may reach another file of this machine.
    """
    try:
        path = (folder / name).resolve()
        found = path.is_relative_to(folder) and path.is_file() and path.name not in PICKLED
    except (OSError, ValueError):  # too long, or with a NUL
        return None
    return path if found else None
