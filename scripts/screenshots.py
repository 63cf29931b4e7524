"""Screenshots of the running product, for the README and for looking at: ``python scripts/screenshots.py OUT``.

Starts a server of its own, runs the demo job, and takes each page in light and dark, wide and narrow, English and Chinese.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.conftest import CHROMIUM, FLAGS, PASSWORD
from tests.browser.test_first_job import demo_spec, finished, submit
from tests.support.running import running_server

LOOKS = [("light", 1440, "en"), ("dark", 1440, "en"), ("light", 390, "en"), ("light", 1440, "zh-CN")]
PAGES = {
    "jobs": "/",
    "new": "/new",
    "why": "/why",
    "accuracy": "/accuracy",
    "machines": "/machines",
    "datasets": "/datasets",
    "models": "/models",
    "settings": "/settings",
}

MEMORY_TAB = 1
"""Its place among the tabs of a job's page, which is the last one opened."""


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server, server.client() as client:
        client.post("/api/users", json={"username": "ada", "password": PASSWORD, "role": "admin"}).raise_for_status()
        job = submit(client, demo_spec())
        finished(client, job, within=900)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for scheme, width, language in LOOKS:
                context = browser.new_context(
                    base_url=server.url, viewport={"width": width, "height": 900}, color_scheme=scheme, locale=language
                )
                body = {"username": "ada", "password": PASSWORD}
                context.request.post("/api/session", data=body, headers={"X-Tunescope-CSRF": "1"})
                page = context.new_page()
                for name, path in {**PAGES, "job": f"/jobs/{job}"}.items():
                    page.goto(path)
                    page.wait_for_timeout(1500)
                    page.screenshot(path=out / f"{name}-{scheme}-{width}-{language}.png")
                page.get_by_role("tab").nth(MEMORY_TAB).click()
                page.wait_for_timeout(1500)
                page.screenshot(path=out / f"memory-{scheme}-{width}-{language}.png", full_page=True)
                context.close()
            browser.close()


if __name__ == "__main__":
    main()
