"""What the server, its controller and its workers say in sentences: in English for people, as a kind with values for programs.

A field with an English text has a neighbour of this type (``waiting_because`` and ``waiting_sentence``), which the page tells in the
reader's language. Rows and workers of older releases have none: then there is the English text alone.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

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


Value = str | int | float | Sentence | list[Sentence]
"""What a library said is a string, whole and untranslated; a sentence within a sentence is one itself."""
Sentence.model_rebuild()


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
