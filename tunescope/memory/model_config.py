"""config.json of a spec's model, from a file given, a directory it names, or the catalogue: one resolver for CLI and REST."""

import json
from pathlib import Path
from typing import Any

from tunescope.memory.architecture import Architecture, architecture_from_config
from tunescope.memory.catalogue import catalogue, catalogue_config
from tunescope.models import DEMO, DEMO_CATALOGUE_NAME
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec

LARGEST_CONFIG_BYTES = 4 * 1024**2


def architecture_for(spec: JobSpec, config: dict[str, Any] | None = None) -> Architecture:
    """The dimensions of a spec's model: of ``config`` where one is given, else the catalogue's. Raises InvalidInput."""
    if config is not None:
        return architecture_from_config(config, spec.model.id)
    return catalogue(DEMO_CATALOGUE_NAME if spec.model.id == DEMO else spec.model.id)


def config_for(spec: JobSpec, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """The config.json itself, for the tracer. Raises InvalidInput."""
    return config or catalogue_config(DEMO_CATALOGUE_NAME if spec.model.id == DEMO else spec.model.id)


def local_config(spec: JobSpec, given: str | None = None) -> dict[str, Any] | None:
    """For the command line: the file ``given``, or the config.json of the directory that ``model.id`` names; else None."""
    if given is not None:
        path = Path(given)
        return read_config_file(path / "config.json" if path.is_dir() else path, "--config")
    try:
        directory = Path(spec.model.id).expanduser()
        if not directory.is_dir():
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    return read_config_file(directory / "config.json", "model.id")


def read_config_file(path: Path, field: str) -> dict[str, Any]:
    """Read a config.json. Raises InvalidInput naming ``field``."""

    def refused(why: Sentence) -> InvalidInput:
        fix = "give the config.json published with the model"
        error = FieldError(field, why.text, fix, "no_config_file", {"why": why})
        return InvalidInput(say("not_a_config", path=str(path)), say("use_published_config"), [error])

    try:
        if path.stat().st_size > LARGEST_CONFIG_BYTES:
            raise refused(say("is_far_too_large"))
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise refused(say("no_such_file")) from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise refused(say("cannot_be_read", said=str(error))) from error
    except ValueError as error:
        raise refused(say("is_not_json", said=str(error))) from error
    if not isinstance(values, dict):
        raise refused(say("is_no_json_object"))
    return values
