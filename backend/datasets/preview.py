"""The first rows of a data set as the model's chat template renders them, with their lengths in tokens."""

from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, cast

from sqlalchemy.orm import Session

from backend.datasets.service import path_of
from backend.datasets.tables import DatasetRow
from backend.models.service import find_model
from tunescope.datasets.reading import RowProblem, read_training_rows
from tunescope.datasets.rendering import LENGTH_SAMPLE_ROWS, SAMPLE_CHARACTERS, Renderer, characters
from tunescope.models import DEMO
from tunescope.problems import Problem
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings

SHOWN_CHARACTERS = 20_000
"""Of one text in a preview."""


def preview(
    session: Session, settings: ServerSettings, row: DatasetRow, limit: int, model: str | None
) -> dict[str, Any]:
    """Rows as they are and as rendered; without a prepared tokenizer the reason why they are not rendered."""
    renderer, reason = renderer_of(session, settings, model)
    rows: list[dict[str, Any]] = []
    lengths: list[int] = []
    left = SAMPLE_CHARACTERS
    usable = (item for item in read_training_rows(path_of(settings, row)) if not isinstance(item, RowProblem))
    for raw, training_row, _format in islice(usable, LENGTH_SAMPLE_ROWS if renderer else limit):
        rendered: str | None = None
        tokens: int | None = None
        left -= characters(training_row)
        if renderer is not None and left < 0:
            renderer, reason = None, say("rows_too_long_here")
        if renderer is not None:
            try:
                rendered = renderer.render(training_row)
                tokens = renderer.count(training_row)
                lengths.append(tokens)
            except Problem as error:
                renderer, reason = None, error.detail_sentence
        if len(rows) < limit:
            shown = {"raw": shortened(raw.raw), "rendered": shortened(rendered)}
            rows.append({"line": raw.line, **shown, "tokens": tokens})
        elif renderer is None:
            break
    told = {"rendered_unknown_because": reason.text if reason else None, "rendered_unknown_sentence": reason}
    return {"rows": rows, **told, "lengths": statistics(lengths)}


def shortened(value: Any) -> Any:
    """What a person looks at: long texts within ``value`` are cut, with their length."""
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS:
        return f"{value[:SHOWN_CHARACTERS]}… ({len(value):,} characters)"
    if isinstance(value, dict):
        return {shortened(key): shortened(inner) for key, inner in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [shortened(inner) for inner in cast(list[Any], value)]
    return value


def statistics(lengths: list[int]) -> dict[str, Any] | None:
    if not lengths:
        return None
    ordered = sorted(lengths)
    return {
        "measured_rows": len(ordered),
        "median": int(median(ordered)),
        "p95": ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)],
        "longest": ordered[-1],
    }


def renderer_of(
    session: Session, settings: ServerSettings, model: str | None
) -> tuple[Renderer | None, Sentence | None]:
    name = model or DEMO
    found = find_model(session, settings, name)
    if found is None:
        return None, say("tokenizer_not_here", model=name)
    if not (Path(found.path) / "tokenizer.json").is_file():
        return None, say("tokenizer_not_yet_here", model=name)
    try:
        return Renderer(found.path), None
    except Problem as error:
        return None, error.detail_sentence
