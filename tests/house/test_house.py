"""The rules of the house that linters do not see."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import alembic
import pytest

from tunescope.problems import Problem
from tunescope.settings import ServerSettings, WorkerSettings
from tunescope.states import FailureReason

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("module", ["backend.app", "backend.controller.__main__", "worker.app", "worker.supervisor"])
def test_torch_stays_in_the_trainer(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_our_migrations_do_not_shadow_alembic() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert "site-packages" in str(alembic.__file__)


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    for settings in (ServerSettings, WorkerSettings):
        for name, field in settings.model_fields.items():
            variable = {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}.get(name, f"TUNESCOPE_{name.upper()}")
            assert f"`{variable}`" in text, f"{variable} is not in docs/settings.md"
            assert field.description, f"{name} has no sentence"


def test_every_reason_of_failure_is_explained() -> None:
    text = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    sections = {line.strip("#` ") for line in text.splitlines() if line.startswith("## ")}
    assert sections == {reason.value for reason in FailureReason}


def test_the_command_line_reference_is_fresh() -> None:
    made = subprocess.run([sys.executable, ROOT / "scripts" / "cli_reference.py"], capture_output=True, check=True)
    assert made.stdout.decode() == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), "run `make docs`"


def test_every_link_between_documents_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (
        "docs/architecture.md",
        "docs/settings.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/first-run.yaml",
    ):
        assert name in text and (ROOT / name).is_file()


def refusals() -> Iterator[tuple[str, ast.Call]]:
    """Every place in the sources that makes a Problem or names a wrong field."""
    own = [kind for kind in Problem.__subclasses__() if kind.__module__ == Problem.__module__]
    kinds = {kind.__name__ for kind in own if kind.__init__ is Problem.__init__} | {"FieldError"}
    for path in (*(ROOT / "tunescope").rglob("*.py"), *(ROOT / "backend").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_refusal_says_what_to_do() -> None:
    """Unavailable without a remedy ends a command of ours with the log of what failed."""
    silent: list[str] = []
    for place, call in refusals():
        assert isinstance(call.func, ast.Name)
        needed = {"FieldError": 3, "Unavailable": 1}.get(call.func.id, 2)
        if len(call.args) < needed and not {word.arg for word in call.keywords} & {"fix", "errors"}:
            silent.append(place)
    assert silent == []
