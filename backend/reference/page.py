"""The API reference: the OpenAPI schema as one HTML page without scripts or anything from elsewhere."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from backend.openapi import MEANINGS
from backend.reference.words import Field, field_of, fields_of, prose, type_of

HERE = Path(__file__).parent
PLACE = re.compile(r"{(\w+)}")
templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class Answer:
    status: str
    media: str
    type: Markup | None


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    about: Markup
    open: bool
    """Answers without signing in."""
    parameters: list[Field]
    body: Markup | None
    body_fields: list[Field]
    """Of a form; those of a JSON body stand with its schema."""
    answers: list[Answer]
    problems: list[str]
    example: str


@dataclass(frozen=True)
class Definition:
    """A named schema: an object with fields, or a choice (``type``)."""

    name: str
    about: Markup
    fields: list[Field]
    type: Markup


def render(schema: Mapping[str, Any]) -> str:
    """The page of an OpenAPI schema."""
    groups: dict[str, list[Operation]] = {}
    for tag, operation in operations(schema):
        groups.setdefault(tag, []).append(operation)
    definitions = [
        Definition(name, prose(each.get("description", "")), fields_of(each), type_of(each))
        for name, each in sorted(schema["components"]["schemas"].items())
    ]
    return templates.get_template("page.html").render(
        info=schema["info"], groups=groups, definitions=definitions, meanings=MEANINGS, css=Markup(style())
    )


def style() -> str:
    return (HERE / "page.css").read_text(encoding="utf-8")


def operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, Operation]]:
    """Each operation with its tag."""
    for path, item in schema["paths"].items():
        for method, found in item.items():
            yield found["tags"][0], operation_of(schema, method, path, found)


def operation_of(schema: Mapping[str, Any], method: str, path: str, found: Mapping[str, Any]) -> Operation:
    content = found.get("requestBody", {}).get("content", {})
    media, body = next(((media, each["schema"]) for media, each in content.items()), ("", None))
    is_form = media == "multipart/form-data"
    responses = found["responses"].items()
    return Operation(
        id=found["operationId"],
        method=method.upper(),
        path=path,
        about=prose(found.get("description") or found["summary"]),
        open="security" not in found,
        parameters=[parameter_of(each) for each in found.get("parameters", ())],
        body=type_of(body) if body and not is_form else None,
        body_fields=fields_of(schema["components"]["schemas"][named(body)]) if body and is_form else [],
        answers=[answer for status, each in responses if "$ref" not in each for answer in answers_of(status, each)],
        problems=[status for status, each in sorted(responses) if "$ref" in each],
        example=example(method, path, media),
    )


def parameter_of(found: Mapping[str, Any]) -> Field:
    """A parameter; it is left out rather than null."""
    schema: dict[str, Any] = dict(found["schema"])
    if "anyOf" in schema:
        schema["anyOf"] = [each for each in schema["anyOf"] if each.get("type") != "null"]
    return field_of(found["name"], schema, found.get("required", False), found.get("description", ""), found["in"])


def named(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[-1]


def answers_of(status: str, response: Mapping[str, Any]) -> Iterator[Answer]:
    content = response.get("content", {})
    for media, each in content.items():
        yield Answer(status, media, type_of(each["schema"]) if each.get("schema") else None)
    if not content:
        yield Answer(status, "", None)


def example(method: str, path: str, media: str) -> str:
    """A curl command; the body is a file of the reader's, what the path names are variables."""
    path = PLACE.sub(lambda found: f"${found[1].upper()}", path)
    words = ["curl", '-H "Authorization: Bearer $TUNESCOPE_TOKEN"']
    if media == "application/json":
        words += ['-H "Content-Type: application/json"', "-d @body.json"]
    elif media:
        words.append("-F file=@my-data.jsonl")
    if method != ("post" if media else "get"):
        words.append(f"-X {method.upper()}")
    return " ".join([*words, f'"$TUNESCOPE_URL{path}"'])
