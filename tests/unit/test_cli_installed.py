"""A plain ``pip install tunescope`` has the command and the SDK; what needs more says what is missing."""

import pytest

from tunescope.cli import installed
from tunescope.cli.main import main


@pytest.mark.parametrize(
    ("words", "extras"),
    [
        (("up", "--data-dir", "nowhere"), "server,worker"),
        (("api", "--data-dir", "nowhere"), "server"),
        (("controller",), "server"),
        (("worker",), "worker"),
        (("admin-link", "--data-dir", "nowhere"), "server"),
    ],
)
def test_a_part_without_its_libraries_is_refused_in_words(
    words: tuple[str, ...], extras: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed.importlib.util, "find_spec", lambda name: None if name == "redis" else object())
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "not installed here: redis." in said and f"'.[{extras}]'" in said


def test_what_is_installed_here_starts_every_part() -> None:
    installed.refuse_without("server", "worker")
