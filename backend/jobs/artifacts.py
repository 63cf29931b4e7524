"""Where the files are that a job left, and which of them may leave the server."""

from pathlib import Path

from backend.jobs.tables import JobRow
from tunescope.settings import ServerSettings

PICKLED = frozenset(("training_args.bin",))
"""What trainers of older releases left beside the result and nothing reads. It may run code when it is loaded."""


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
