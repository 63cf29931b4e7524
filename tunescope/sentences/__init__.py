"""What the server, its controller and its workers say in sentences: in English for people, as a kind with values for programs.

A field with an English text has a neighbour of this type (``waiting_because`` and ``waiting_sentence``), which the page tells in the
reader's language. Rows and workers of older releases have none: then there is the English text alone.
"""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator

from tunescope.sentences.templates import TEMPLATES
from tunescope.units import format_bytes

__all__ = ["Sentence", "Value", "say"]


class Sentence(BaseModel):
    """One sentence: of which kind, and what it is about. Names of values that end in ``_bytes`` are bytes."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    # A newer worker may say what this server has no template for; then the text is all that is shown.
    kind: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(TEMPLATES)})]
    text: str = Field(description="The same in English.")
    values: "dict[str, Value]" = Field(
        default_factory=dict, description="What its template names; a sentence within it is one itself."
    )

    @field_validator("values", mode="before")
    @classmethod
    def _without_unknown_types(cls, given: Any) -> "dict[str, Value]":
        """A newer worker may tell values of a type that is not known here: an event is not lost for one, it has its text."""
        if not isinstance(given, Mapping):
            return {}
        read = {str(name): _read(value) for name, value in cast(Mapping[Any, Any], given).items()}
        return {name: value for name, value in read.items() if value is not None}


Value = str | int | float | Sentence | list[Sentence]
"""What a library said is a string, whole and untranslated; a sentence within a sentence is one itself."""
Sentence.model_rebuild()


def _read(value: Any) -> Value | None:
    """A value that came from elsewhere; None if its type is none of ``Value``'s."""
    if isinstance(value, Sentence) or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, list):
        items = [_read(item) for item in cast(list[Any], value)]
        sentences = [item for item in items if isinstance(item, Sentence)]
        return sentences if len(sentences) == len(items) else None
    try:
        return Sentence.model_validate(value)
    except ValidationError:
        return None


def say(kind: str, **values: Value) -> Sentence:
    """The sentence of a kind; ``values`` are what its template in ``templates.py`` names."""
    text = TEMPLATES[kind].format_map({name: _in_english(name, value) for name, value in values.items()})
    # Not validated again: an estimate takes under a millisecond and says a dozen.
    return Sentence.model_construct(kind=kind, text=text, values=values)


def _in_english(name: str, value: Value) -> str | int | float:
    if isinstance(value, Sentence):
        return value.text
    if isinstance(value, list):
        return "; ".join(item.text for item in value)
    return format_bytes(value) if name.endswith("_bytes") and isinstance(value, int) else value
