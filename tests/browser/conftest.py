"""One running server and one Chromium for all browser tests.

Only for them: Playwright keeps an event loop running in this thread until it is stopped, which no other test may meet.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.running import Running, running_server

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "a password for tests"
# Two cores that also train are slow at times; what never comes still fails.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        with running.client() as client:
            answer = client.post("/api/users", json={"username": "ada", "password": PASSWORD, "role": "admin"})
            assert answer.status_code == 201, answer.text
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    assert Path(CHROMIUM).exists(), "Chromium is missing: run `make test`, which installs it, or set CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def signed_in(browser: Browser, server: Running) -> Iterator[Page]:
    """A signed-in page at 1440 px, English, light."""
    context = browser.new_context(
        base_url=server.url, viewport={"width": 1440, "height": 900}, locale="en-US", color_scheme="light"
    )
    page = context.new_page()
    answer = context.request.post(
        "/api/session", data={"username": "ada", "password": PASSWORD}, headers={"X-Tunescope-CSRF": "1"}
    )
    assert answer.ok, answer.text()
    yield page
    # A request that a test changes on its way may still be under way: its handler must not fail the test that comes next.
    page.unroute_all(behavior="ignoreErrors")
    context.close()


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    with signed_in(browser, server) as page:
        yield page
