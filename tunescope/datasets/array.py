"""The elements of a JSON array, one at a time.

ijson.items() names every value by its path, whose length grows with the depth: 400 kB of brackets take 100 GB. Events have no paths.
"""

from collections.abc import Iterator
from typing import Any, Protocol, cast

import ijson

from tunescope.datasets.values import MAX_DEPTH

BUILT_DEPTH = MAX_DEPTH + 1
"""What lies deeper is read over: one level too many is enough for the element to be refused."""


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def elements(stream: Readable) -> Iterator[Any]:
    """Each element of the array that ``stream`` holds. Raises ijson.JSONError where it is no JSON."""
    # Not use_float: with it, integers beyond 64 bits end the reading.
    events = cast(Iterator[tuple[str, Any]], ijson.basic_parse(stream))
    next(events, None)
    opened: list[Any] = []
    names: list[str] = []
    depth = 0
    for event, value in events:
        if event == "map_key":
            if depth <= BUILT_DEPTH:
                names[-1] = value
        elif event in ("start_map", "start_array"):
            depth += 1
            if depth <= BUILT_DEPTH:
                opened.append({} if event == "start_map" else [])
                names.append("")
        elif event in ("end_map", "end_array"):
            depth -= 1
            if 0 <= depth < BUILT_DEPTH:
                names.pop()
                done = opened.pop()
                if depth == 0:
                    yield done
                else:
                    put(opened[-1], names[-1], done)
        elif depth == 0:
            yield value
        elif depth <= BUILT_DEPTH:
            put(opened[-1], names[-1], value)


def put(container: Any, name: str, value: Any) -> None:
    if isinstance(container, list):
        cast(list[Any], container).append(value)
    else:
        container[name] = value
