"""The rules of the house that linters do not see."""

import subprocess
import sys
from pathlib import Path

import alembic
import pytest

from tunescope.settings import ServerSettings, WorkerSettings

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
