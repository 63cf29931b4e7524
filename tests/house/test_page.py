"""What the page takes from elsewhere is complete and fresh: the typed client, and the words of both languages."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tunescope.memory.explain import OTHER
from tunescope.memory.ledger import CATEGORIES
from tunescope.memory.trace import Phase
from tunescope.spec import LIMITS, JobSpec
from tunescope.states import FailureReason, JobState
from tunescope.validation import KNOWN, TOO_LONG
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


def test_both_languages_have_the_same_words() -> None:
    english, chinese = words("en"), words("zh-CN")
    # The server itself says its sentences in English: tests/house/test_sentences.py.
    assert english.keys() == chinese.keys() - {"sentences"}
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


def named_problems() -> set[str]:
    """Every name that the server gives a wrong field of a spec."""
    found = {type for _, _, type in KNOWN.values()} | {f"too_many_{what}" for what in TOO_LONG.values()}
    found |= {limits.type for limits in LIMITS.values()} | {"no_choice", "repeated"}
    refusing = (
        "tunescope/spec.py", "tunescope/memory/attention_choice.py", "tunescope/memory/expert_adapters.py", "backend/jobs/refusals.py", "backend/users/service.py",
    )  # fmt: skip
    sources = [ROOT / name for name in refusing]
    for text in (path.read_text() for path in sources):
        calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
        for call in calls:
            if getattr(call.func, "id", "") in ("FieldError", "wrong_together"):
                type = call.args[3]
                if getattr(type, "id", "") != "type":  # taken from KNOWN, which is counted above
                    found.add(str(ast.literal_eval(type)))
    return found


def test_every_named_problem_of_a_spec_has_words() -> None:
    yaml = {key for key in words("en")["problems"] if key.startswith("yaml_")}
    assert words("en")["problems"].keys() - yaml == named_problems()


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
    known |= named_problems()
    unused = [
        key for key in words("en")[feature] if key not in known and not any(item.match(key) for item in templates)
    ]
    assert unused == []
