"""Where the next page of a list begins: the moment and id of the last item before it, as ``<Unix seconds>~<id>``."""

import math

from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say


def cursor_after(moment: float, id: str) -> str:
    return f"{moment!r}~{id}"


def parse_cursor(cursor: str) -> tuple[float, str]:
    """Raises InvalidInput for what is no cursor."""
    at, _, id = cursor.partition("~")
    try:
        moment = float(at)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment):
        error = FieldError("cursor", "is no cursor", "use next_cursor of the page before", "no_cursor")
        raise InvalidInput(say("unknown_cursor"), errors=[error])
    return moment, id
