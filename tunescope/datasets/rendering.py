"""Render rows as a model's own chat template does, and count their tokens; needs tokenizers and jinja2 only."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from tunescope.datasets.formats import Completion, Conversation, PlainText, TrainingRow
from tunescope.problems import InvalidInput
from tunescope.sentences import say

ANEW = say("download_anew")
LENGTH_SAMPLE_ROWS = 2000
"""Lengths are those of the first so many rows: enough for a percentile, and quick for a large upload."""
SAMPLE_CHARACTERS = 8_000_000
"""And of so many characters at most: a tokenizer takes some seconds for them, and one row may hold as many as it likes."""


@dataclass(frozen=True)
class Lengths:
    """Token lengths of a data set under one tokenizer. ``sampled_rows`` says how many rows they are of, ``whole`` whether of all."""

    median: int
    p95: int
    longest: int
    sampled_rows: int
    whole: bool


def characters(row: TrainingRow) -> int:
    """About how long a row is when it is rendered."""
    if isinstance(row, PlainText):
        return len(row.text)
    if isinstance(row, Completion):
        return len(row.prompt) + len(row.completion)
    return sum(len(message.role) + len(message.content) for message in row.messages)


class Renderer:
    """The tokenizer and chat template of one model directory."""

    def __init__(self, model_dir: Path) -> None:
        self._tokenizer = _tokenizer(model_dir)
        self._special, source = _template_parts(model_dir)
        self._template = _template(source) if source else None

    def render(self, row: TrainingRow) -> str:
        """The text that the model is trained on. Raises InvalidInput if the chat template refuses the row."""
        if isinstance(row, PlainText):
            return row.text
        if isinstance(row, Completion):
            return row.prompt + row.completion
        return self._chat(row)

    def count(self, row: TrainingRow) -> int:
        """Tokens of the rendered row, before any cutting."""
        plain = not isinstance(row, Conversation)
        return len(self._tokenizer.encode(self.render(row), add_special_tokens=plain).ids)

    def lengths(self, rows: Iterable[TrainingRow]) -> Lengths | None:
        """Statistics over the first rows, bounded as above; None if there are none."""
        counts: list[int] = []
        left, whole = SAMPLE_CHARACTERS, True
        for row in rows:
            left -= characters(row)
            if left < 0 or len(counts) == LENGTH_SAMPLE_ROWS:
                whole = False
                break
            counts.append(self.count(row))
        if not counts:
            return None
        counts.sort()
        p95 = counts[min(len(counts) - 1, int(0.95 * len(counts)))]
        return Lengths(int(statistics.median(counts)), p95, counts[-1], len(counts), whole)

    def _chat(self, row: Conversation) -> str:
        if self._template is None:
            raise InvalidInput(say("no_chat_template"), say("choose_chat_model"))
        try:
            messages = [asdict(message) for message in row.messages]
            return self._template.render(messages=messages, add_generation_prompt=False, **self._special)
        except Exception as error:  # a template is a program of somebody else's: it may raise anything
            raise InvalidInput(say("template_refuses_row", said=str(error)), say("change_roles")) from error


def _tokenizer(model_dir: Path) -> Tokenizer:
    path = model_dir / "tokenizer.json"
    if not path.is_file():
        raise InvalidInput(say("no_tokenizer"), say("save_fast_tokenizer"))
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        raise InvalidInput(say("model_file_unreadable", file="tokenizer.json", said=str(error)), ANEW) from error


def _template(source: str) -> Template:
    try:
        return _environment().from_string(source)
    except (TemplateError, RecursionError) as error:
        raise InvalidInput(say("chat_template_unreadable", said=str(error)), ANEW) from error


def _template_parts(model_dir: Path) -> tuple[dict[str, str], str | None]:
    """Special tokens by name, and the template's source if there is one."""
    config = _config(model_dir / "tokenizer_config.json")
    special = {
        key: text for key in ("bos_token", "eos_token", "pad_token", "unk_token") if (text := _token(config.get(key)))
    }
    own_file = model_dir / "chat_template.jinja"
    if own_file.is_file():
        return special, _read(own_file)
    source = config.get("chat_template")
    if isinstance(source, list):  # several named templates
        named = {item.get("name"): item.get("template") for item in cast(list[dict[str, Any]], source)}
        source = named.get("default")
    return special, source if isinstance(source, str) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(say("model_file_unreadable", file=path.name, said=str(error)), ANEW) from error


def _config(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read(path)) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(say("model_file_unreadable", file=path.name, said=str(error)), ANEW) from error
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _token(value: Any) -> str | None:
    """A special token is a string, or an object with its ``content``."""
    if isinstance(value, dict):
        value = cast(dict[str, Any], value).get("content")
    return value if isinstance(value, str) else None


def _environment() -> ImmutableSandboxedEnvironment:
    """The environment that transformers renders chat templates in: same options, filters and functions."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, "tunescope.datasets.generation.GenerationTag"]
    )
    environment.filters["tojson"] = _tojson
    functions: dict[str, Any] = {"raise_exception": _refuse, "strftime_now": _strftime_now}
    cast(dict[str, Any], environment.globals).update(functions)
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
