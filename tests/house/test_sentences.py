"""Every sentence of the server is said somewhere with the values that its template names, and the page has it in Chinese."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from tunescope.recipes import load_recipes
from tunescope.sentences.templates import ADVICE, TEMPLATES, XIDS

ROOT = Path(__file__).resolve().parents[2]
CHINESE: dict[str, str] = json.loads((ROOT / "frontend/src/i18n/zh-CN/sentences.json").read_text())
NOTES = [note for recipe in load_recipes().values() for note in recipe.notes]
TREES = {
    path: ast.parse(path.read_text())
    for package in ("tunescope", "backend", "worker")
    for path in (ROOT / package).rglob("*.py")
    if path != ROOT / "tunescope" / "sentences" / "templates.py"
}


def values_of(kind: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(TEMPLATES[kind]) if name}


def said() -> Iterator[tuple[str, ast.Call, list[str]]]:
    """Every call of ``say`` with the kinds that it may name, as far as they stand there."""
    for path, tree in TREES.items():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "say":
                texts = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
                kinds = [text for text in texts if isinstance(text, str) and text in TEMPLATES]
                yield f"{path.relative_to(ROOT)}:{call.lineno}", call, kinds


def test_the_page_has_every_sentence_in_chinese() -> None:
    assert CHINESE.keys() == TEMPLATES.keys()


@pytest.mark.parametrize("kind", sorted(TEMPLATES))
def test_a_translation_names_the_values_of_its_sentence(kind: str) -> None:
    assert set(re.findall(r"{{(\w+)}}", CHINESE[kind])) == values_of(kind)


def test_sentences_are_said_with_the_values_of_their_templates() -> None:
    wrong = [
        (where, kind)
        for where, call, kinds in said()
        for kind in kinds
        if {keyword.arg for keyword in call.keywords} != values_of(kind)
    ]
    assert wrong == []


def test_every_sentence_is_said() -> None:
    quoted = {node.value for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert sorted(TEMPLATES.keys() - quoted - XIDS.keys() - {note.kind for note in NOTES}) == []


def test_what_recipes_note_is_told_with_the_values_of_its_template() -> None:
    assert [note for note in NOTES if note.values.keys() != values_of(note.kind)] == []


def test_no_value_is_called_as_the_first_argument_of_say() -> None:
    assert [kind for kind in TEMPLATES if "kind" in values_of(kind)] == []


@pytest.mark.parametrize("kind", sorted(ADVICE))
def test_advice_names_no_button(kind: str) -> None:
    """Whether the page offers Retry or Resume depends on a checkpoint, which whoever advises does not know of."""
    assert re.findall(r"(?i)\bretry|\bresume|重试|“继续”", ADVICE[kind] + CHINESE[kind]) == []
