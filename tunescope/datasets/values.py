"""What a row may hold: values that JSON can carry, as deep as a person would write, in characters that UTF-8 has."""

import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, cast

from tunescope.datasets.formats import BadRow
from tunescope.sentences import say

MAX_DEPTH = 32
"""Lists and objects within each other. Rows need four; a thousand would end Python's own reading and writing of JSON."""


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON has it: decimals as floats, dates and bytes as text. Raises BadRow for what cannot be kept."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, list | dict):
        if depth == MAX_DEPTH:
            raise BadRow(say("row_nested_too_deeply", most=MAX_DEPTH))
        if isinstance(value, list):
            return [plain(item, depth + 1) for item in cast(list[Any], value)]
        pairs = cast(dict[str, Any], value).items()
        return {_text(name): plain(item, depth + 1) for name, item in pairs}
    return _other(value)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        raise BadRow(say("row_holds_half_a_character", half=half)) from error
    return value


def _other(value: object) -> Any:
    """What Parquet has beside JSON's values. Columns of these kinds are shown, never trained on."""
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return _text(str(value))
