"""Specs of jobs as they were stored, perhaps by an older release: read so that every job can be shown, explained and cloned.

Rules that came later do not make an old job unreadable: fields that are no more are left out, new ones have their
defaults, a number beyond today's limits counts as the nearest one within, a choice that is no more as the default.
Settings that do not go together any more stay as they were: they only keep the job from being run again as it is.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say
from tunescope.spec import LIMITS, JobSpec, parse_spec


def stored_spec(values: Any) -> JobSpec:
    """The spec behind ``values``, as stored. Raises InvalidInput where not even the model or the data set is told."""
    try:
        return JobSpec.model_validate(values)
    except ValidationError:
        given = _mapping(values)
    parts: dict[str, Any] = {}
    for name, field in JobSpec.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            parts[name] = _section(name, kind, _mapping(given.get(name)))
    named = _accepted(JobSpec, "name", given.get("name"))
    return JobSpec.model_construct(**({} if named is None else {"name": named}), **parts)


def runnable_spec(values: Any) -> JobSpec:
    """A stored spec as one to run today. Raises InvalidInput that names what is refused now."""
    return parse_spec(stored_spec(values).model_dump(mode="json"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _section(section: str, kind: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    kept: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        value = _accepted(kind, name, given.get(name), f"{section}.{name}")
        if value is not None:
            kept[name] = value
        elif field.is_required():
            error = FieldError(f"{section}.{name}", "is missing", "submit the job anew", "missing_in_stored")
            raise InvalidInput(say("spec_unreadable_by_now"), errors=[error])
    return kind.model_construct(**kept)


def _accepted(kind: type[BaseModel], name: str, value: Any, path: str = "") -> Any:
    """``value`` where this one field takes it, the nearest that it takes, or None for its default."""
    if value is None:
        return None
    limits = LIMITS.get(path)
    candidates = [value]
    if limits is not None and isinstance(value, int | float):
        nearest = min(max(value, limits.low), limits.high)
        candidates.append(int(nearest) if isinstance(value, int) else nearest)
    return next((each for each in candidates if _takes(kind, name, each)), None)


def _takes(kind: type[BaseModel], name: str, value: Any) -> bool:
    try:
        kind.__pydantic_validator__.validate_assignment(kind.model_construct(), name, value)
    except ValidationError as error:
        # What does not go together with another field says nothing against this one.
        return all(name not in item["loc"] for item in error.errors())
    return True
