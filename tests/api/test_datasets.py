"""Uploads over HTTP: what is refused leaves nothing behind, and every refusal says what to do."""

import errno
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from backend.datasets import service
from tunescope.settings import ServerSettings

GOOD = b'{"text": "one"}\n'


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return settings.model_copy(update={"max_upload_bytes": 100_000})


@pytest.fixture(params=["sqlite", "postgres"])
def on_postgres(request: pytest.FixtureRequest) -> bool:
    return request.param == "postgres"


def upload(client: TestClient, content: bytes, file_name: str = "data.jsonl", name: str = "") -> Any:
    return client.post("/api/datasets", files={"file": (file_name, content)}, data={"name": name})


def kept(settings: ServerSettings) -> set[Path]:
    return {
        path for path in settings.datasets_dir().rglob("*") if path.is_file() and path.name != "vram-questions.jsonl"
    }


@pytest.mark.parametrize(
    ("content", "file_name", "status", "loc"),
    [
        (b"", "data.jsonl", 422, "file"),
        (b"\n \n", "data.jsonl", 422, "file"),
        (b"[]", "data.json", 422, "file"),
        (b"not json\n{}", "data.jsonl", 422, "file.line 1"),
        (b"not json\nneither", "data.jsonl", 422, "file"),
        (b"\xff\xfe\x00", "data.jsonl", 422, "file"),
        (b"a\x00b,c", "data.csv", 422, "file"),
        (b"PAR1", "data.parquet", 422, "file.line 1"),
        (GOOD, "data.exe", 422, "file"),
        (GOOD, "data", 422, "file"),
        (GOOD * 10_000, "data.jsonl", 413, None),
        (GOOD * 200_000, "data.jsonl", 413, None),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing_behind(
    member: TestClient, settings: ServerSettings, content: bytes, file_name: str, status: int, loc: str | None
) -> None:
    answer = upload(member, content, file_name)
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["fix"] or all(error["fix"] or error["message"] for error in body["errors"])
    assert loc is None or body["errors"][0]["loc"] == loc
    assert kept(settings) == set()
    assert [item["name"] for item in member.get("/api/datasets").json()["items"]] == ["vram-questions"]


def test_what_is_wrong_with_a_row_is_told_in_kinds_and_values(member: TestClient, settings: ServerSettings) -> None:
    (error,) = upload(member, b'{"messages": "hello"}\n', "data.jsonl").json()["errors"]
    why = error["values"]["why"]
    assert (error["type"], error["message"]) == ("bad_row", why["text"])
    assert (why["kind"], why["values"]["where"], why["values"]["found"]["kind"]) == (
        "must_be_turns", "messages", "json_text",
    )  # fmt: skip
    upload(member, GOOD, name="mine")
    shown = member.get("/api/datasets/mine/rows", params={"model": "absent"}).json()
    because = shown["rendered_unknown_sentence"]
    assert because["values"] == {"model": "absent"} and because["text"] == shown["rendered_unknown_because"]


@pytest.mark.parametrize(
    ("content", "type", "told"),
    [
        # Also where a character is cut at the end of what is looked at.
        (b"{}\n" + "é".encode() * 40_000, "bad_row", 2),
        (bytes(range(256)) * 100, "file_not_text", 1),
        (GOOD.decode().encode("utf-16"), "file_not_text", 1),
        (b'{"question": "a", "reply": "b"}\n' * 30, "file_wrong_throughout", 1),
    ],
)
def test_what_is_wrong_with_a_whole_file_is_told_once(member: TestClient, content: bytes, type: str, told: int) -> None:
    errors = upload(member, content, "data.jsonl").json()["errors"]
    assert ([error["type"] for error in errors], len(errors)) == ([type] * told, told)
    if type == "file_wrong_throughout":
        assert errors[0]["values"]["rows"] == 30 and "question, reply" in errors[0]["message"]


def test_a_name_is_given_once(member: TestClient, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert upload(member, GOOD, name="mine").status_code == 201
    before = kept(settings)
    again = upload(member, GOOD, name="mine")
    assert again.status_code == 409 and "Choose another name" in again.json()["fix"]
    monkeypatch.setattr(service, "find_dataset", lambda session, name: None)  # the other upload is quicker by a moment
    assert upload(member, GOOD, name="mine").status_code == 409
    assert kept(settings) == before


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a b", "x" * 101, "a\x00b", "<b>"])
def test_names_that_are_no_names_are_refused(member: TestClient, settings: ServerSettings, name: str) -> None:
    answer = upload(member, GOOD, name=name)
    assert answer.status_code == 422 and answer.json()["errors"][0]["loc"] == "name"
    assert kept(settings) == set()


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("my data (v2).jsonl", "my-data-v2"),
        ("训练 数据.jsonl", "训练-数据"),
        ("x" * 150 + ".jsonl", "x" * 100),
        # Decomposed, as macOS names files.
        ("cafe\u0301 donne\u0301es.jsonl", "caf\u00e9-donn\u00e9es"),
        ("हिन्दी प्रश्न.jsonl", "हिन्दी-प्रश्न"),
        ("ที่นี่.jsonl", "ที่นี่"),
    ],
)
def test_a_file_has_a_usable_name_of_its_own(member: TestClient, file_name: str, name: str) -> None:
    answer = upload(member, GOOD, file_name)
    assert (answer.status_code, answer.json()["name"], answer.json()["file_name"]) == (201, name, file_name)


def test_both_forms_of_a_letter_are_one_name(member: TestClient) -> None:
    assert upload(member, GOOD, name="caf\u00e9").status_code == 201
    assert upload(member, GOOD, name="cafe\u0301").status_code == 409
    assert upload(member, GOOD, "cafe\u0301.jsonl").status_code == 409
    assert member.get("/api/datasets/cafe\u0301").json()["name"] == "caf\u00e9"


def test_a_file_name_cannot_lead_elsewhere(member: TestClient, settings: ServerSettings) -> None:
    assert upload(member, GOOD, "../../up.jsonl").status_code == 201
    [file] = kept(settings)
    assert file.is_relative_to(settings.datasets_dir())
    assert member.get("/api/datasets/up").json()["file_name"] == "up.jsonl"


def test_a_full_disk_is_told(member: TestClient, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(service, "receive", full)
    answer = upload(member, GOOD)
    assert answer.status_code == 503 and "disk is full" in answer.json()["detail"]
    assert kept(settings) == set()


def test_a_database_without_space_is_told_as_a_full_disk(member: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(service, "add", full)
    answer = upload(member, GOOD)
    assert answer.status_code == 503 and "disk is full" in answer.json()["detail"]


def test_characters_that_a_database_cannot_keep_are_no_server_error(member: TestClient) -> None:
    for path in ("/api/jobs/%00", "/api/datasets/%00", "/api/jobs?q=%00", "/api/jobs?owner=%00"):
        assert member.get(path).status_code in (200, 404, 422), path
    spec = {"name": "a\x00b", "model": {"id": "x"}, "data": {"dataset": "vram-questions"}}
    answer = member.post("/api/jobs", content=json.dumps(spec), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.json()["errors"][0]["loc"] == "name"


def test_bodies_that_are_no_json_are_told_so(member: TestClient) -> None:
    for body, kind in (
        (b"{bad", "application/json"),
        (b"", "application/json"),
        (b"{}", "text/plain"),
        (b"null", "application/json"),
    ):
        answer = member.post("/api/jobs", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == "body" and answer.json()["errors"][0]["fix"]
    for body in (b"[" * 100_000, b'{"name": "\xff"}'):
        answer = member.post("/api/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400 and answer.json()["fix"]
    long = member.post("/api/jobs", content=b'{"name": "' + b"x" * 5_000_000 + b'"}')
    assert long.status_code == 413 and long.json()["fix"]


BROKEN = (
    b'{"text": "half \\ud800"}\n{"text": "deep", "more": '
    + b"[" * 900
    + b"]" * 900
    + b'}\n{"text": "a", "score": NaN}\n'
)


def test_rows_that_cannot_be_kept_are_named_and_never_shown(member: TestClient, settings: ServerSettings) -> None:
    added = upload(member, BROKEN + GOOD, name="broken")
    assert added.status_code == 201, added.text
    assert [problem["line"] for problem in added.json()["problems"]] == [1, 2]
    for problem in added.json()["problems"]:
        assert problem["message_sentence"]["text"] == problem["message"]
    assert member.get("/api/datasets/broken").status_code == 200
    shown = member.get("/api/datasets/broken/rows")
    assert shown.status_code == 200, shown.text
    assert [row["raw"]["text"] for row in shown.json()["rows"]] == ["a", "one"]
