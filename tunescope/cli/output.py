"""What the command prints: one JSON document with --json, text and tables for people without.

Nothing that a server sends is read as markup, and lines are broken only by a terminal, never in a pipe or a file.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 10_000
ALIGNED_COLUMNS = 32
"""A longer cell of a table in a pipe or file moves the rest of its own line, not that of every other."""


def _console(stderr: bool) -> Console:
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = PIPE_COLUMNS
    return made


console = _console(stderr=False)
errors = _console(stderr=True)


def print_json(value: Any) -> None:
    """Exactly one JSON document on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    if not rows:
        errors.print(empty)
        return
    if not console.is_terminal:
        for line in plain_lines([columns, *rows]):
            console.print(line)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table, soft_wrap=False)


def plain_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as one line a row, whole: columns two blanks apart, none after the last."""
    one_line = [[" ".join(cell.splitlines()) for cell in row] for row in rows]
    widths = [
        max((length for cell in cells if (length := cell_len(cell)) <= ALIGNED_COLUMNS), default=0)
        for cells in zip(*one_line, strict=True)
    ]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in one_line
    ]


def lenient_output() -> None:
    """A terminal that cannot show a character gets its escape, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
