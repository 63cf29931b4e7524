"""pydantic's errors as ours: dotted paths, words for a person, and the remedy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from tunescope.problems import FieldError
from tunescope.sentences import Value

BRANCH = "branch:"
"""Begins the tags of a union, so that they are not taken for fields."""
UNION_BRANCHES = ("function-", "literal[", "list[", "constrained", "nullable", BRANCH)
"""How pydantic names the branches of a union within a path; no field of ours begins so."""
OUTSIDE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")
BOUNDS = {
    "ge": ("from", "out_of_range_below"),
    "gt": ("over", "out_of_range_not_over"),
    "le": ("up to", "out_of_range_above"),
    "lt": ("under", "out_of_range_not_under"),
}
"""pydantic's name of a bound -> how it is said, and our name of what breaks it."""
AT_FIELD = "at_field"
NO_SIDE = "no_side"
"""Of an explanation: neither a spec nor a name."""


@dataclass(frozen=True)
class Limits:
    """The numbers that a field takes; ``over`` and ``under``: without the bound itself."""

    low: float
    high: float
    over: bool = False
    under: bool = False

    def __str__(self) -> str:
        begin = f"over {self.low:g}" if self.over else f"from {plain(self.low)}"
        if self.over:
            return f"{begin} and at most {plain(self.high)}"
        return f"{begin} to under {plain(self.high)}" if self.under else f"{begin} to {plain(self.high)}"

    @property
    def type(self) -> str:
        return "out_of_range_over" if self.over else "out_of_range_under" if self.under else "out_of_range"


def plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def limits_of(field: FieldInfo) -> Limits | None:
    """The limits that a field was declared with; None unless it has both."""
    bounds: dict[str, float] = {}
    for item in field.metadata:
        bounds |= {name: getattr(item, name) for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is None or high is None:
        return None
    return Limits(low, high, "gt" in bounds, "lt" in bounds)


def wrong_together(field: str, message: str, fix: str, type: str, instead: str | None = None) -> PydanticCustomError:
    """To raise in a validator of several fields: the error stands at ``field``, a path below the validated model.

    ``instead`` is the value of ``field`` that mends it, where one is the likeliest.
    """
    context = {"field": field, "message": message, "fix": fix, "type": type, "instead": instead}
    return PydanticCustomError(AT_FIELD, "{message} ({fix})", context)


def field_errors(
    items: Iterable[Mapping[str, Any]],
    prefix: str = "",
    whole: str = "spec",
    limits: Mapping[str, Limits] | None = None,
) -> list[FieldError]:
    """One FieldError a field. ``whole`` names the input itself, for errors that belong to no field of it.

    ``limits`` of numbers go by the last two names of a path: a spec may stand anywhere in a request.
    """
    found: dict[str, FieldError] = {}
    for item in items:
        error = field_error(item, prefix, whole, limits or {})
        before = found.get(error.loc)
        if before is not None and before.message != error.message:
            fix = ", or ".join(dict.fromkeys(filter(None, (before.fix, error.fix))))
            error = FieldError(error.loc, f"{before.message}, and {error.message}", fix, *_both(before, error))
        found[error.loc] = error
    return list(found.values())


def _both(first: FieldError, second: FieldError) -> tuple[str, Mapping[str, Value]]:
    """The name of what is wrong where a field takes either of two things and got neither."""
    known = {"no_choice", "not_a_list"} == {first.type, second.type}
    return ("no_choice_no_list", {**first.values, **second.values}) if known else (second.type, second.values)


def field_error(item: Mapping[str, Any], prefix: str, whole: str, limits: Mapping[str, Limits]) -> FieldError:
    parts = [part for part in map(str, item["loc"]) if not part.startswith(UNION_BRANCHES)]
    context: Mapping[str, Any] = item.get("ctx") or {}
    if item["type"] == AT_FIELD:
        loc = prefix + ".".join([*parts, context["field"]])
        patch = {} if context["instead"] is None else {loc.removeprefix("spec."): context["instead"]}
        return FieldError(loc, context["message"], context["fix"], context["type"], patch=patch)
    loc = prefix + (".".join(parts) or whole)
    within = limits.get(".".join(parts[-2:]))
    if item["type"] in OUTSIDE and within:
        values = {"low": within.low, "high": within.high}
        return FieldError(loc, "is out of range", f"give a number {within}", within.type, values)
    bound = next((name for name in BOUNDS if name in context), None)
    if item["type"] in OUTSIDE and bound:
        word, type = BOUNDS[bound]
        fix, values = f"give a number {word} {context[bound]}", {"bound": context[bound]}
        return FieldError(loc, "is out of range", fix, type, values)
    known = KNOWN.get(item["type"])
    if known:
        message, fix, type = known
        return FieldError(loc, message, fix, type)
    if item["type"] == "literal_error":
        choices = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        return FieldError(loc, "is none of the choices", f"choose one of {choices}", "no_choice", {"choices": choices})
    if item["type"] in TOO_LONG:
        most, what = context["max_length"], TOO_LONG[item["type"]]
        return FieldError(loc, f"has more than {most} {what}", "shorten it", f"too_many_{what}", {"most": most})
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == NO_SIDE:
        return FieldError(loc, message, str(context["fix"]), NO_SIDE)
    # In pydantic's own words: of a kind that no field of ours has brought up so far.
    return FieldError(loc, message, "see /api/docs for what it takes", "not_accepted", {"said": message})


NO_FIELD = ("there is no such field", "remove it, or check its spelling", "no_field")
NOT_WHOLE = ("is not a whole number", "give digits only", "not_whole")
NOT_A_NUMBER = ("is not a number", "give a number such as 0.0001 or 1e-4", "not_a_number")
NOT_TRUE_OR_FALSE = ("is neither true nor false", "give true or false", "not_boolean")
TOO_LONG = {"string_too_long": "characters", "too_long": "items"}
KNOWN = {
    "missing": ("is missing", "add it", "missing"),
    "extra_forbidden": NO_FIELD,
    "string_pattern_mismatch": (
        "is blank or has characters that are not allowed here", "use visible characters only", "not_printable",
    ),
    "string_too_short": ("is empty", "fill it in", "empty"),
    "too_short": ("is empty", "fill it in", "empty"),
    "list_type": ("is not a list", "write its items in [ ], with commas", "not_a_list"),
    "int_parsing": NOT_WHOLE,
    "int_type": NOT_WHOLE,
    "int_from_float": NOT_WHOLE,
    "int_parsing_size": NOT_WHOLE,
    "float_parsing": NOT_A_NUMBER,
    "float_type": NOT_A_NUMBER,
    "bool_parsing": NOT_TRUE_OR_FALSE,
    "bool_type": NOT_TRUE_OR_FALSE,
    "string_unicode": ("has half of a character", "type it anew, as whole characters of Unicode", "half_character"),
    "string_type": ("is not text", "give text; put it in quotes if it looks like a number", "not_text"),
    "model_type": ("is not a mapping of fields", "write its fields below it, each with its value", "not_fields"),
    "model_attributes_type": ("is not a mapping of fields", "write its fields below it, each with its value", "not_fields"),
}  # fmt: skip
"""pydantic's name of an error -> message, remedy, our name."""
