"""The formats of a data set's rows, and how each becomes one of three kinds of training row.

messages            {"messages": [{"role", "content"}, ...]}          -> Conversation
sharegpt            {"conversations": [{"from", "value"}, ...]}       -> Conversation
alpaca              {"instruction", "input"?, "output", "system"?}    -> Conversation
prompt_completion   {"prompt", "completion"}                          -> Completion (or Conversation, if both are lists)
text                {"text"}                                          -> PlainText
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from tunescope.sentences import Sentence, say

Format = Literal["messages", "sharegpt", "alpaca", "prompt_completion", "text"]

REQUIRED_KEYS: dict[Format, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "text": ("text",),
}
"""Keys that a row of each format must have; detection tries the formats in this order."""

ROLES = ("system", "user", "assistant", "tool")
ROLE_NAMES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "observation": "tool",
}
"""What speakers are called in the wild -> the role that chat templates know."""

SUPPORTED = "messages, conversations, instruction + output, prompt + completion, or text"


class BadRow(ValueError):
    """This row cannot be trained on; ``why`` says it for a person."""

    def __init__(self, why: Sentence) -> None:
        super().__init__(why.text)
        self.why = why


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """Turns that the model's chat template renders."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Completion:
    """A text that continues another; no chat template is applied."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class PlainText:
    """A text to learn as it stands."""

    text: str


TrainingRow = Conversation | Completion | PlainText


def detect_format(raw: Mapping[str, Any]) -> Format | None:
    """The format that this row's keys name, or None."""
    for name, keys in REQUIRED_KEYS.items():
        if all(key in raw for key in keys):
            return name
    return None


def normalize(raw: Mapping[str, Any], format: Format) -> TrainingRow:
    """The row as the trainer takes it. Raises BadRow."""
    missing = [key for key in REQUIRED_KEYS[format] if raw.get(key) is None]
    if missing:
        raise BadRow(say("row_lacks", needed=", ".join(f'"{key}"' for key in missing), format=format))
    if format == "messages":
        return _conversation(raw["messages"], "messages")
    if format == "sharegpt":
        return _sharegpt(raw)
    if format == "alpaca":
        return _alpaca(raw)
    if format == "prompt_completion":
        return _prompt_completion(raw)
    return PlainText(_filled(raw["text"], "text"))


def _sharegpt(raw: Mapping[str, Any]) -> Conversation:
    system = raw.get("system")
    turns = _turns(raw["conversations"], "conversations")
    if system:
        turns.insert(0, Message("system", _filled(system, "system")))
    return _checked(turns, "conversations")


def _alpaca(raw: Mapping[str, Any]) -> Conversation:
    question = _filled(raw["instruction"], "instruction")
    extra = raw.get("input")
    if extra is not None and not isinstance(extra, str):
        raise BadRow(say("must_be_text", where="input", found=_kind(extra)))
    if extra and extra.strip():
        question = f"{question}\n\n{extra}"
    turns = [Message("user", question), Message("assistant", _filled(raw["output"], "output"))]
    if raw.get("system"):
        turns.insert(0, Message("system", _filled(raw["system"], "system")))
    return Conversation(tuple(turns))


def _prompt_completion(raw: Mapping[str, Any]) -> TrainingRow:
    prompt, completion = raw["prompt"], raw["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        return _checked([*_turns(prompt, "prompt"), *_turns(completion, "completion")], "completion")
    return Completion(_filled(prompt, "prompt"), _filled(completion, "completion"))


def _conversation(value: Any, key: str) -> Conversation:
    return _checked(_turns(value, key), key)


def _checked(turns: list[Message], key: str) -> Conversation:
    if not any(turn.role == "assistant" for turn in turns):
        raise BadRow(say("no_assistant_turn", where=key))
    return Conversation(tuple(turns))


def _turns(value: Any, key: str) -> list[Message]:
    if not isinstance(value, list):
        raise BadRow(say("must_be_turns", where=key, found=_kind(value)))
    items = cast(list[Any], value)
    if not items:
        raise BadRow(say("is_empty", where=key))
    return [_turn(item, f"{key}[{number}]") for number, item in enumerate(items)]


def _turn(item: Any, where: str) -> Message:
    """One turn; ``where`` is its path in the row, counted from 0 as in JSON."""
    if not isinstance(item, dict):
        raise BadRow(say("turn_no_object", where=where, found=_kind(item)))
    turn = cast(dict[str, Any], item)
    name = turn.get("role", turn.get("from"))
    if not isinstance(name, str):
        raise BadRow(say("turn_without_role", where=where))
    role = ROLE_NAMES.get(name.strip().lower())
    if role is None:
        raise BadRow(say("unknown_role", where=where, name=name[:40], known=", ".join((*ROLES, "human", "gpt"))))
    if turn.get("tool_calls"):
        raise BadRow(say("turn_calls_tools", where=where))
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = _joined(cast(list[Any], content), where)
    if content is None:
        raise BadRow(say("turn_without_content", where=where))
    if role == "assistant" or not isinstance(content, str):
        return Message(role, _filled(content, f"{where}.content"))
    return Message(role, content)


def _joined(parts: list[Any], where: str) -> str:
    """Text of a content given in parts, as OpenAI's API has it."""
    texts: list[str] = []
    for part in parts:
        text = cast(dict[str, Any], part).get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            raise BadRow(say("part_not_text", where=where))
        texts.append(text)
    return "".join(texts)


def _filled(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadRow(say("must_be_text", where=where, found=_kind(value)))
    if not value.strip():
        raise BadRow(say("is_empty", where=where))
    return value


def _kind(value: Any) -> Sentence:
    """What a value is, as JSON has it: ``tunescope.datasets.values.plain`` leaves no other kinds."""
    if value is None or isinstance(value, bool):
        return say("json_null" if value is None else "json_boolean")
    if isinstance(value, dict | list):
        return say("json_object" if isinstance(value, dict) else "json_list")
    return say("json_text" if isinstance(value, str) else "json_number")
