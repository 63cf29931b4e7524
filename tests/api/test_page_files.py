"""The built page's files, as browsers fetch them."""

import gzip
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from backend.page import PageFiles

SCRIPT = "export const words = 'the same words again';\n" * 200


@pytest.fixture
def browser(tmp_path: Path) -> TestClient:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-1a2b.js").write_text(SCRIPT)
    (tmp_path / "assets" / "inter.woff2").write_bytes(b"wOF2")
    app = Starlette()
    app.router.default = PageFiles(directory=tmp_path)
    return TestClient(app)


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br;q=1.0, gzip;q=0.8", "gzip"),
        ("identity", None),
        ("gzip;q=0", None),
        ("", None),
    ],
)
def test_scripts_come_compressed_to_whoever_takes_that(browser: TestClient, accepted: str, sent: str | None) -> None:
    for _ in range(2):
        with browser.stream("GET", "/assets/index-1a2b.js", headers={"accept-encoding": accepted}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == sent and answer.headers["vary"] == "Accept-Encoding"
        assert (gzip.decompress(raw) if sent else raw) == SCRIPT.encode()
        assert int(answer.headers["content-length"]) == len(raw)
        assert "immutable" in answer.headers["cache-control"] and "javascript" in answer.headers["content-type"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_not_a_whole_script_is_sent_as_it_is(browser: TestClient) -> None:
    takes = {"accept-encoding": "gzip"}
    assert browser.get("/assets/inter.woff2", headers=takes).content == b"wOF2"
    part = browser.get("/assets/index-1a2b.js", headers=takes | {"range": "bytes=0-5"})
    assert (part.status_code, part.text) == (206, SCRIPT[:6])
    assert browser.head("/assets/index-1a2b.js", headers=takes).headers["content-length"] == str(len(SCRIPT))
    assert browser.get("/assets/index-gone.js", headers=takes).status_code == 404
    assert "no-cache" in browser.get("/jobs/x", headers=takes).headers["cache-control"]
