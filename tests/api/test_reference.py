"""The API reference: complete, without scripts, and only for those who are signed in."""

import re
from html.parser import HTMLParser

from fastapi import FastAPI
from fastapi.testclient import TestClient


class Page(HTMLParser):
    """What a browser would find: ids, links, and elements that fetch something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        self.ids.add(found.get("id") or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        self.fetched += [value for name, value in attrs if value and (name == "src" or (tag, name) == ("link", "href"))]


def test_it_shows_every_operation_field_and_schema(app: FastAPI, admin: TestClient) -> None:
    answer = admin.get("/api/docs")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    page, schema = Page(answer.text), app.openapi()
    for path, item in schema["paths"].items():
        for operation in item.values():
            assert operation["operationId"] in page.ids, path
            assert operation.get("description"), f"{operation['operationId']} has no sentence for the reference"
    assert {f"schema-{name}" for name in schema["components"]["schemas"]} <= page.ids
    assert "gradient_accumulation_steps" in answer.text and "integer, from 1 to 65536" in answer.text


def test_every_link_leads_somewhere(admin: TestClient) -> None:
    page = Page(admin.get("/api/docs").text)
    missing = {link for link in page.links if link.startswith("#") and link[1:] not in page.ids}
    assert not missing
    assert {link for link in page.links if not link.startswith("#")} == {"/", "/settings", "/api/openapi.json"}


def test_it_runs_no_script_and_fetches_nothing_from_elsewhere(admin: TestClient) -> None:
    answer = admin.get("/api/docs")
    page = Page(answer.text)
    assert "script" not in page.tags
    assert page.fetched and all(re.match(r"/(?!/)", address) for address in page.fetched)
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_browser_is_led_to_the_sign_in_and_back(stranger: TestClient) -> None:
    answer = stranger.get("/api/docs", headers={"Accept": "text/html,*/*;q=0.8"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fapi%2Fdocs")


def test_programs_read_the_schema_with_a_token(admin: TestClient, app: FastAPI) -> None:
    assert admin.get("/api/openapi.json").json() == app.openapi()
