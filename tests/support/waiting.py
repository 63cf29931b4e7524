"""Wait for something to become true, instead of sleeping for a guessed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], within: float, what: str, every: float = 0.05) -> T:
    """Return the first truthy value of ``condition``, asked ``every`` so many seconds; AssertionError naming ``what``
    after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(every)
