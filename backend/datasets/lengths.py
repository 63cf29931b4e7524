"""How long a job's rows are under its model's tokenizer, where both are on this server; measured once and remembered."""

from functools import lru_cache
from pathlib import Path

from sqlalchemy.orm import Session

from backend.datasets.service import find_dataset, path_of
from backend.models.service import find_model
from tunescope.datasets.reading import RowProblem, read_training_rows
from tunescope.datasets.rendering import Renderer
from tunescope.memory.lengths import Lengths
from tunescope.problems import Problem
from tunescope.settings import ServerSettings
from tunescope.spec import JobSpec

REMEMBERED = 256
"""Pairs of data set and tokenizer."""
BEYOND_SAMPLE = 10_000_000
"""Stands for the longest row of a data set that was not read to its end: nothing but max_length bounds it."""


def lengths_of(session: Session, settings: ServerSettings, spec: JobSpec) -> Lengths | None:
    """Lengths in tokens of the spec's rows; None where data set or tokenizer is not here, or the template refuses a row."""
    dataset = find_dataset(session, spec.data.dataset)
    if dataset is None or spec.model.source != "library":
        return None
    model = find_model(session, settings, spec.model.id)
    if model is None or not (model.path / "tokenizer.json").is_file():
        return None
    changed = (model.path / "tokenizer.json").stat().st_mtime_ns
    return _measured(path_of(settings, dataset), dataset.sha256, model.path, changed)


@lru_cache(maxsize=REMEMBERED)
def _measured(data: Path, _sha256: str, model: Path, _changed: int) -> Lengths | None:
    usable = (item[1] for item in read_training_rows(data) if not isinstance(item, RowProblem))
    try:
        found = Renderer(model).lengths(usable)
    except (Problem, OSError):
        return None
    if found is None:
        return None
    return Lengths(found.median, found.p95, found.longest if found.whole else BEYOND_SAMPLE)
