"""Public models by hub id: the config.json fields that decide memory, as data (``models.json``), each with its source."""

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from tunescope.memory.architecture import Architecture, architecture_from_config
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say


@lru_cache(maxsize=1)
def entries() -> dict[str, dict[str, Any]]:
    """Every entry: {config, parameters, source} by hub id."""
    return json.loads((files(__name__) / "models.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _by_lowercase() -> dict[str, str]:
    short = {name.split("/")[-1].lower(): name for name in entries()}
    return short | {name.lower(): name for name in entries()}


def found_entry(name: str) -> str:
    """The full hub id of an entry. Raises InvalidInput."""
    found = _by_lowercase().get(name.lower())
    if found is None:
        fix = "choose a catalogue model, or give the model's config.json (tunescope estimate SPEC --config FILE)"
        error = FieldError("model.id", "is not in the catalogue", fix, "not_in_catalogue")
        raise InvalidInput(say("catalogue_has_no_model", model=name), errors=[error])
    return found


@lru_cache(maxsize=256)
def catalogue(name: str) -> Architecture:
    """The architecture of a public model, by hub id or its part after the slash. Raises InvalidInput."""
    found = found_entry(name)
    return architecture_from_config(entries()[found]["config"], found)


def catalogue_config(name: str) -> dict[str, Any]:
    """The config.json fields of a public model that decide its memory. Raises InvalidInput."""
    return dict(entries()[found_entry(name)]["config"])


def in_catalogue(name: str) -> bool:
    return name.lower() in _by_lowercase()
