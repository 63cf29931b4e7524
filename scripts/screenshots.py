"""Screenshots of the running product: ``python scripts/screenshots.py`` renews those of the README, ``… OUT`` takes every page.

Starts a server of its own and runs the demo job. Every page: in light and dark, wide and narrow, English and Chinese.
"""

import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.conftest import CHROMIUM, FLAGS, PASSWORD
from tests.browser.test_first_job import demo_spec, finished, submit
from tests.support.running import ROOT, Running, running_server

Look = tuple[Literal["light", "dark"], int, str]
LOOKS: list[Look] = [("light", 1440, "en"), ("dark", 1440, "en"), ("light", 390, "en"), ("light", 1440, "zh-CN")]
PAGES = {
    "jobs": "/",
    "new": "/new",
    "why": "/why",
    "losses": "/losses",
    "accuracy": "/accuracy",
    "machines": "/machines",
    "datasets": "/datasets",
    "models": "/models",
    "settings": "/settings",
}

README = ("job", "why")
STEPS = 20


def take(browser: Browser, server: Running, look: Look, pages: dict[str, str], out: Path, mark: str) -> None:
    """Each page as it is seen first, in one look; ``mark`` ends the files' names."""
    scheme, width, language = look
    context = browser.new_context(
        base_url=server.url, viewport={"width": width, "height": 900}, color_scheme=scheme, locale=language
    )
    body = {"username": "ada", "password": PASSWORD}
    context.request.post("/api/session", data=body, headers={"X-Tunescope-CSRF": "1"})
    page = context.new_page()
    for name, path in pages.items():
        page.goto(path)
        page.wait_for_timeout(1500)
        page.screenshot(path=out / f"{name}{mark}.png", full_page=name == "memory")
    context.close()


def main() -> None:
    every = len(sys.argv) > 1
    out = Path(sys.argv[1]) if every else ROOT / "docs" / "images"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server, server.client() as client:
        client.post("/api/users", json={"username": "ada", "password": PASSWORD, "role": "admin"}).raise_for_status()
        job = submit(client, demo_spec(steps=STEPS))
        finished(client, job, within=900)
        pages = {**PAGES, "job": f"/jobs/{job}", "memory": f"/jobs/{job}?tab=memory"}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            if every:
                for look in LOOKS:
                    take(browser, server, look, pages, out, "-" + "-".join(str(part) for part in look))
            else:
                take(browser, server, LOOKS[0], {name: pages[name] for name in README}, out, "")
            browser.close()


if __name__ == "__main__":
    main()
