"""What a data set may be called; ``frontend/src/upload/names.ts`` suggests names by the same rule."""

import unicodedata
from pathlib import Path

LONGEST_NAME = 100
"""In characters of the composed form (NFC)."""


def composed(name: str) -> str:
    """Unicode has two forms of an ``é``, and macOS names files in the other one: this is the form that names are kept in."""
    return unicodedata.normalize("NFC", name.strip())


def fits(character: str) -> bool:
    """Letters, digits, ``_``, ``.``, ``-``, and the marks without which Hindi or Thai cannot be written."""
    return character.isalnum() or character in "_.-" or unicodedata.category(character).startswith("M")


def is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and all(map(fits, name)) and bool(name.strip("."))


def name_from_file(file_name: str) -> str:
    """A data set's name from that of its file, ``my data (v2).jsonl``: what a name cannot have becomes dashes, ``my-data-v2``.

    Empty where nothing is left.
    """
    kept = "".join(character if fits(character) else " " for character in composed(Path(file_name).stem))
    return "-".join(kept.split()).strip("-")[:LONGEST_NAME]
