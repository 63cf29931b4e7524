"""pydantic's errors as ours: dotted paths, words for a person, and the remedy where there is one."""

from collections.abc import Iterable, Mapping
from typing import Any

from tunescope.problems import FieldError

UNION_BRANCHES = ("function-", "literal[", "list[", "constrained", "nullable")
"""How pydantic names the branches of a union within a path; no field of ours begins so."""


def field_errors(items: Iterable[Mapping[str, Any]], prefix: str = "", whole: str = "spec") -> list[FieldError]:
    """One FieldError a field. ``whole`` names the input itself, for errors that belong to no field of it."""
    found: dict[str, FieldError] = {}
    for item in items:
        error = field_error(item, prefix, whole)
        before = found.get(error.loc)
        if before is not None and before.message != error.message:
            error = FieldError(error.loc, f"{before.message}; or {error.message}", before.fix or error.fix)
        found[error.loc] = error
    return list(found.values())


def field_error(item: Mapping[str, Any], prefix: str, whole: str) -> FieldError:
    parts = [str(part) for part in item["loc"]]
    loc = prefix + (".".join(part for part in parts if not part.startswith(UNION_BRANCHES)) or whole)
    if item["type"] == "extra_forbidden":
        return FieldError(loc, "there is no such field", "remove it, or check its spelling")
    if item["type"] == "string_pattern_mismatch":
        return FieldError(loc, "is blank or has characters that are not allowed here")
    return FieldError(loc, str(item["msg"]).removeprefix("Value error, "))
