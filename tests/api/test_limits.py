"""What is too long, or from nobody who is known, is refused before it is kept; what no route is for goes to the page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.app import create_app
from backend.limits import MAX_JSON_BYTES
from tests.api.conftest import ADMIN_TOKEN
from tunescope.settings import ServerSettings

ROW = b'{"text": "one"}\n'
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
CHUNK = b" " * 65536


def chunks(count: int) -> Iterator[bytes]:
    """A body whose length is not told beforehand."""
    for _ in range(count):
        yield CHUNK


def problem(answer: object, status: int) -> None:
    assert answer.status_code == status, answer.text  # pyright: ignore
    assert answer.headers["content-type"] == "application/problem+json" and answer.json()["fix"]  # pyright: ignore


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer tsc_wrong"}, {"Cookie": "tunescope_session=x"}])
def test_no_stranger_uploads(
    stranger: TestClient, headers: dict[str, str], settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the form was read")

    monkeypatch.setattr("starlette.requests.Request._get_form", never)
    problem(stranger.post("/api/datasets", files={"file": ("a.jsonl", ROW)}, headers=headers), 401)
    assert not [path for path in settings.datasets_dir().rglob("data.*")]


@pytest.mark.parametrize("path", ["/api/session", "/api/jobs", "/api/estimates", "/api/explanations"])
def test_only_uploads_may_be_long_whatever_they_are_called(admin: TestClient, path: str) -> None:
    for kind in (FORM, {"Content-Type": "application/json"}, {}):
        problem(admin.post(path, content=b" " * (MAX_JSON_BYTES + 1), headers=kind), 413)
        problem(admin.post(path, content=chunks(MAX_JSON_BYTES // len(CHUNK) + 1), headers=kind), 413)


def test_an_upload_without_a_length_is_counted_as_it_comes(admin: TestClient, app: FastAPI) -> None:
    for layer in app.user_middleware:
        layer.kwargs["max_upload_bytes"] = 1
    app.middleware_stack = app.build_middleware_stack()

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        yield from chunks(20)
        yield b"\r\n--x--\r\n"

    problem(admin.post("/api/datasets", content=body(), headers=FORM), 413)


def test_with_the_page_a_wrong_method_is_still_told(settings: ServerSettings, app: FastAPI, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>the page</h1>")
    served = create_app(settings, page_dir=tmp_path)
    with TestClient(served, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as client:
        problem(client.put("/api/jobs"), 405)
        problem(client.get("/api/nothing"), 404)
        problem(client.post("/"), 405)
        for path in ("/", "/jobs/x", "/deep/er"):
            assert "the page" in client.get(path).text
        assert client.get("/").headers["content-security-policy"]
