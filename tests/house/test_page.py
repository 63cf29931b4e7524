"""What the page takes from elsewhere is complete and fresh: the typed client, and the words of both languages."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tunescope import problems
from tunescope.memory.explain import OTHER
from tunescope.memory.ledger import CATEGORIES
from tunescope.memory.trace import Phase
from tunescope.spec import LIMITS, JobSpec
from tunescope.states import FailureReason, JobState
from tunescope.validation import BOUNDS, KNOWN, TOO_LONG
from tunescope.wire import GpuReport

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
WORDS = FRONTEND / "src" / "i18n"
SOURCES = {path: path.read_text() for path in (FRONTEND / "src").rglob("*.ts*") if path.name != "schema.gen.ts"}


def node_path() -> str:
    command = [sys.executable, str(ROOT / "scripts" / "node_bin.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_generated_client_is_fresh() -> None:
    schema = subprocess.run([sys.executable, ROOT / "scripts" / "openapi.py"], capture_output=True, check=True).stdout
    answer = subprocess.run(
        [FRONTEND / "node_modules" / ".bin" / "openapi-typescript"],
        input=schema,
        capture_output=True,
        cwd=FRONTEND,
        env=os.environ | {"PATH": f"{node_path()}:{os.environ['PATH']}"},
        check=True,
    )
    kept = (FRONTEND / "src" / "api" / "schema.gen.ts").read_text()
    assert answer.stdout.decode().strip() == kept.strip(), "run `make client` and commit the result"


def words(language: str) -> dict[str, dict[str, str]]:
    return {path.stem: json.loads(path.read_text()) for path in (WORDS / language).glob("*.json")}


def spec_fields() -> list[tuple[str, str]]:
    """(section, field) of every field of a job spec that the form shows in a section."""
    found: list[tuple[str, str]] = []
    for section, info in JobSpec.model_fields.items():
        if section in ("name", "model") or info.annotation is None:
            continue
        names = info.annotation.model_fields
        found += [(section, name) for name in names if (section, name) != ("data", "dataset")]
    return found


MODULE = re.compile(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""")
"""What a source imports by a path of its own: statically, for its effect, or when it is needed."""
COMPOSE_FEATURES = {Path("main.tsx"), Path("routes.tsx")}


def feature_of(path: Path) -> str | None:
    return path.parts[1] if path.parts[0] == "features" else None


def test_a_feature_of_the_page_is_imported_by_the_routes_alone() -> None:
    """What two features share stands outside of both, or a change of one page would break another."""
    root = FRONTEND / "src"
    crossing: list[str] = []
    for source, text in SOURCES.items():
        path = source.relative_to(root)
        for target in MODULE.findall(text):
            feature = feature_of(Path(os.path.normpath(path.parent / target)))
            if feature and feature != feature_of(path) and path not in COMPOSE_FEATURES:
                crossing.append(f"{path} imports {target}")
    assert crossing == []


def test_both_languages_have_the_same_words() -> None:
    english, chinese = words("en"), words("zh-CN")
    # The server itself says these in English: its sentences (tests/house/test_sentences.py), and what is wrong with a field.
    assert english.keys() == chinese.keys() - {"sentences", "problems"}
    holes = re.compile(r"{{.*?}}")
    for feature, texts in english.items():
        assert texts.keys() == chinese[feature].keys(), feature
        for key, text in texts.items():
            assert text and chinese[feature][key], f"{feature}.{key} is empty"
            assert set(holes.findall(text)) == set(holes.findall(chinese[feature][key])), f"{feature}.{key}"


def test_every_field_category_state_and_failure_has_words() -> None:
    found = words("en")
    for section, name in spec_fields():
        assert {f"{section}_{name}", f"{section}_{name}_help"} <= found["launch"].keys()
    assert set(CATEGORIES) <= found["charts"].keys()
    assert {state.value for state in JobState} <= found["jobs"].keys()
    assert {f"reason_{reason.value}" for reason in FailureReason} <= found["job"].keys()


PROBLEM_CLASSES = {error.__name__ for error in (problems.Problem, *problems.Problem.__subclasses__())}
ONLY_IN_ENGLISH = ("tunescope/cli/", "tunescope/client.py")
"""What only the command line and programs read."""


def calls_of_the_server() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call by a plain name in what the page may hear of: where it stands, the name, and itself."""
    for package in ("tunescope", "backend"):
        for path in (ROOT / package).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name.startswith(ONLY_IN_ENGLISH):
                continue
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                    yield f"{name}:{call.lineno}", call.func.id, call


def strings_of(node: ast.AST) -> set[str]:
    return {item.value for item in ast.walk(node) if isinstance(item, ast.Constant) and isinstance(item.value, str)}


def named(node: ast.expr) -> set[str]:
    """The names that an argument may be, as far as they stand there."""
    if isinstance(node, ast.IfExp):
        return named(node.body) | named(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def named_problems() -> dict[str, set[str]]:
    """Every name that a call gives a wrong field, with the names of values that are written down in its file."""
    found: dict[str, set[str]] = {}
    for where, name, call in calls_of_the_server():
        if name in ("FieldError", "wrong_together"):
            dicts = [node for node in ast.walk(ast.parse(source_of(where))) if isinstance(node, ast.Dict)]
            keys = {text for node in dicts for key in node.keys if key for text in named(key)}
            found |= {type: found.get(type, set()) | keys for type in named(call.args[3])}
    return found


def source_of(where: str) -> str:
    return (ROOT / where.partition(":")[0]).read_text()


def test_every_problem_of_a_field_has_a_name_and_the_name_has_words() -> None:
    nameless = [
        where
        for where, name, call in calls_of_the_server()
        if name == "FieldError" and len(call.args) < 4 and not any(isinstance(each, ast.Starred) for each in call.args)
    ]
    assert nameless == []
    chinese, found = words("zh-CN")["problems"], named_problems()
    names = {type for _, _, type in KNOWN.values()} | {type for _, type in BOUNDS.values()}
    names |= {f"too_many_{what}" for what in TOO_LONG.values()} | {limits.type for limits in LIMITS.values()}
    assert sorted((names | found.keys()) - chinese.keys()) == []
    holes = {type: set(re.findall(r"{{(\w+)}}", chinese[type])) for type in found}
    assert {type: holes[type] - found[type] for type in found if holes[type] - found[type]} == {}
    quoted = {
        text
        for name in {where.partition(":")[0] for where, _, _ in calls_of_the_server()}
        for text in strings_of(ast.parse(source_of(name)))
    }
    assert sorted(chinese.keys() - names - found.keys() - quoted) == []


def test_every_problem_is_said_in_sentences() -> None:
    """``say``, not a text: the page has no other words for it."""
    written = [
        where
        for where, name, call in calls_of_the_server()
        if name in PROBLEM_CLASSES
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant | ast.JoinedStr)
    ]
    assert written == []


def test_no_word_is_missing() -> None:
    found = words("en")
    missing: list[str] = []
    for path, text in SOURCES.items():
        spaces = re.findall(r'useTranslation\("(\w+)"\)', text)
        if not spaces:
            continue
        for key in re.findall(r'\bt\(\s*"([\w ]+)"', text):
            if not any(key in found[space] for space in spaces):
                missing.append(f"{path.name}: {key}")
    assert missing == []


@pytest.mark.parametrize("feature", sorted(words("en")))
def test_no_word_is_unused(feature: str) -> None:
    """A key is used if it stands in quotes in a source, or fits a template such as `source_${name}` there."""
    text = "\n".join(SOURCES.values())
    quoted = set(re.findall(r"[\"'`](\w+)[\"'`]", text)) | set(re.findall(r"\b(\w+):", text))
    templates = [
        re.compile(re.sub(r"\\\$\\{.*?\\}", r"[\\w ]+", re.escape(item)) + "$")
        for item in re.findall(r"`(\w*\$\{[^`]*?\}\w*)`", text)
        if re.sub(r"\$\{.*?\}", "", item)
    ]
    fields = {f"{section}_{name}" for section, name in spec_fields()} | {section for section, _ in spec_fields()}
    known = quoted | fields | {*CATEGORIES, *OTHER, *JobState, *get_args(Phase), *GpuReport.model_fields}
    unused = [
        key for key in words("en")[feature] if key not in known and not any(item.match(key) for item in templates)
    ]
    assert unused == []
