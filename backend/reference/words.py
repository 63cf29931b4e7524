"""What a JSON schema says, in words for a person: types with links to their definitions, limits, defaults."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

Schema = Mapping[str, Any]
BOUNDS = (
    ("minimum", "from"), ("exclusiveMinimum", "over"), ("maximum", "to"), ("exclusiveMaximum", "under"),
)  # fmt: skip
SIZES = (("minLength", "maxLength", "characters"), ("minItems", "maxItems", "items"))
CODE = re.compile(r"``(.+?)``|`(.+?)`")


@dataclass(frozen=True)
class Field:
    """One field of an object, or one parameter of a request."""

    name: str
    type: Markup
    required: bool
    default: str
    about: Markup
    place: str = ""
    """Where a parameter stands: path, query or header; "" for a field."""


def prose(text: str) -> Markup:
    """A docstring as HTML: paragraphs joined, ``code`` marked."""
    marked = CODE.sub(lambda found: f"<code>{found[1] or found[2]}</code>", str(escape(" ".join(text.split()))))
    return Markup(marked)  # escaped above


def type_of(schema: Schema) -> Markup:
    """The type of a value: ``integer, from 1 to 4096``, ``list of Job``, ``"lora" or "full"``."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    for kind in ("anyOf", "oneOf"):
        if kind in schema:
            return Markup(" or ").join(dict.fromkeys(type_of(each) for each in schema[kind]))
    if "enum" in schema or "const" in schema:
        choices = schema.get("enum") or [schema["const"]]
        return Markup(" or ").join(Markup("<code>{}</code>").format(json.dumps(choice)) for choice in choices)
    return Markup(", ").join([name_of(schema), *map(escape, limits_of(schema))])


def name_of(schema: Schema) -> Markup:
    kind = schema.get("type")
    if kind == "array" and "prefixItems" in schema:
        return Markup("[{}]").format(Markup(", ").join(type_of(each) for each in schema["prefixItems"]))
    if kind == "array":
        return Markup("list of {}").format(type_of(schema.get("items", {})))
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict) and values:
        return Markup("object with values of {}").format(type_of(values))
    if kind == "string" and schema.get("contentMediaType") == "application/octet-stream":
        return Markup("file")
    return escape(kind or "anything")


def limits_of(schema: Schema) -> Iterator[str]:
    bounds = [f"{word} {schema[name]:g}" for name, word in BOUNDS if name in schema]
    if bounds:
        yield " ".join(bounds)
    for least, most, what in SIZES:
        if schema.get(least, 0) > 1:
            yield f"at least {schema[least]} {what}"
        if most in schema:
            yield f"at most {schema[most]} {what}"


def default_of(schema: Schema, required: bool) -> str:
    if required or "default" not in schema:
        return ""
    return json.dumps(schema["default"], ensure_ascii=False)


def field_of(name: str, schema: Schema, required: bool, about: str = "", place: str = "") -> Field:
    text = prose(about or schema.get("description", ""))
    return Field(name, type_of(schema), required, default_of(schema, required), text, place)


def fields_of(schema: Schema) -> list[Field]:
    """The fields of an object's schema."""
    required = set(schema.get("required", ()))
    return [field_of(name, inner, name in required) for name, inner in schema.get("properties", {}).items()]
