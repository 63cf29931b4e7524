"""Failures that were stored before they told their parts apart: one English text held all."""

import re
from typing import Any, cast

from tunescope.sentences import say

ACCOUNT = re.compile(r"\n(?:Held then|Held at the peak of step \d+): .*")
"""What ``memory`` tells as well."""
LOG = "\nLast lines of its log:\n"


def parts_told_apart(stored: dict[str, Any]) -> dict[str, Any]:
    """The failure with its sentence and last lines taken out of its detail, which stays as it was; today's as it is."""
    if stored.get("detail_sentence"):
        return stored
    said, _, log = cast(str, stored.get("detail", "")).partition(LOG)
    if stored.get("memory"):
        said = ACCOUNT.sub("", said)
    lines = stored.get("last_lines") or log.splitlines()  # a server may have stored an older worker's with none
    return stored | {"last_lines": lines, "detail_sentence": say("as_said", said=said)}
