"""What the command prints: one JSON document with --json, text and tables for people without.

Nothing that a server sends is read as markup. Rows of figures are broken only by a terminal, never in a pipe or a file:
programs read them by line. What is told in sentences is for people there too, and is broken between words.
"""

import codecs
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 10_000
ALIGNED_COLUMNS = 46
"""A longer cell of a table in a pipe or file moves the rest of its own line, not that of every other."""

SENTENCE_COLUMNS = 100
"""Where sentences are broken in a pipe or file, unless COLUMNS says otherwise."""
LEAST_SENTENCE_COLUMNS = 30
"""However narrow that is."""


def _console(stderr: bool) -> Console:
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = PIPE_COLUMNS
    return made


console = _console(stderr=False)
errors = _console(stderr=True)


def print_json(value: Any) -> None:
    """Exactly one JSON document on stdout.

    Letters stand as they are where stdout takes all of them: the escapes of ``steady_streams`` are no JSON.
    """
    takes_all = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name.startswith("utf")
    print(json.dumps(value, ensure_ascii=not takes_all, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str, *, sentences: bool = False) -> None:
    """``sentences``: the last column holds some, and they are broken in a pipe too."""
    if not rows:
        errors.print(empty)
        return
    if not console.is_terminal:
        for line in plain_lines([columns, *rows], sentence_columns() if sentences else None):
            console.print(line)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        # What a row is called by is never cut: people copy it.
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, soft_wrap=False)


def print_sentence(text: str) -> None:
    for line in [text] if console.is_terminal else broken(text, sentence_columns()):
        console.print(line)


def sentence_columns() -> int:
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) else SENTENCE_COLUMNS


def broken(text: str, columns: int) -> list[str]:
    """The lines of a text, none longer than ``columns`` where a blank allows it."""
    most = max(columns, LEAST_SENTENCE_COLUMNS)
    return textwrap.wrap(text, most, break_long_words=False, break_on_hyphens=False) or [""]


def plain_lines(rows: Sequence[Sequence[str]], columns: int | None = None) -> list[str]:
    """A table as one line a row, whole: columns two blanks apart, none after the last.

    With ``columns``, the last cell of a row is broken so that lines keep within that many.
    """
    one_line = [[" ".join(cell.splitlines()) for cell in row] for row in rows]
    widths = [
        max((length for cell in cells if (length := cell_len(cell)) <= ALIGNED_COLUMNS), default=0)
        for cells in zip(*one_line, strict=True)
    ]
    lines: list[str] = []
    for *cells, last in one_line:
        before = "".join(
            cell + " " * max(0, width - cell_len(cell)) + "  " for cell, width in zip(cells, widths, strict=False)
        )
        indent = " " * cell_len(before)
        first, *rest = [last] if columns is None else broken(last, columns - len(indent))
        lines += [(before + first).rstrip(), *(indent + line for line in rest)]
    return lines


def steady_streams() -> None:
    """Streams that never end in a traceback: a terminal that cannot show a character gets its escape, one that is closed takes nothing.

    What comes in is UTF-8, as specs are, whatever the terminal's encoding is.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
