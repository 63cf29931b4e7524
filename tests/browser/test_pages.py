"""Each page in Chromium: says what to do when empty, refuses wrong input at the field, passes axe, fits 390 px."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.running import ROOT, Running

PAGES = [
    "/",
    "/new",
    "/new?view=yaml",
    "/datasets",
    "/models",
    "/machines",
    "/why",
    "/losses",
    "/accuracy",
    "/settings",
    "/api/docs",
    "/nowhere",
]
AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"


def serious_problems(page: Page) -> list[str]:
    # Evaluated, not added as a tag: our content security policy refuses inline scripts, as it should.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{item['id']}: {item['help']} {[node['html'][:120] for node in item['nodes'][:3]]}"
        for item in found["violations"]
        if item["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious_and_nothing_runs_off_a_narrow_screen(page: Page, path: str) -> None:
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("networkidle") if path not in ("/", "/machines") else page.wait_for_timeout(500)
    assert serious_problems(page) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(400)  # colours fade over
    assert serious_problems(page) == [], "in the dark"
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, f"{path} is {width} px wide"


LONG_NAME = "a_name_without_a_single_space_" * 3
RUNS_OFF = "element => element.scrollWidth > element.clientWidth"


def test_a_long_name_of_a_data_set_runs_off_neither_a_message_nor_a_question(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/datasets")
    file = tmp_path / f"{LONG_NAME}.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n' * 20 + '{"x": 1}\n')
    page.locator("input[type=file]").first.set_input_files(file)
    message = page.locator(".mantine-Alert-root", has_text=LONG_NAME)
    expect(message).to_be_visible()
    assert not message.evaluate(RUNS_OFF)
    page.get_by_role("button", name=re.compile("^Delete")).first.click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(LONG_NAME)
    assert not question.evaluate(RUNS_OFF)
    question.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name=LONG_NAME)).to_have_count(0)


def test_a_long_name_of_a_running_job_does_not_widen_the_machines(page: Page) -> None:
    job = {"id": "x", "name": LONG_NAME, "owner": "ada", "state": "running", "step": 1, "total_steps": 9}
    job |= {"gpus": [], "reserved_bytes": None, "peak_bytes": None}

    def answer(route: Route) -> None:
        told = route.fetch().json()
        for machine in told["machines"]:
            machine["jobs"] = [job]
        route.fulfill(json=told)

    page.route("**/api/gpus", answer)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/machines")
    expect(page.get_by_role("link", name=LONG_NAME)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_signed_out_visitors_are_asked_to_sign_in(browser: Browser, server: Running) -> None:
    page = browser.new_page(base_url=server.url)
    page.goto("/datasets")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.close()


def test_chinese_is_spoken(page: Page) -> None:
    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.goto("/why")
    expect(page.get_by_role("heading", level=1)).to_contain_text("显存")


def test_a_data_set_with_bad_rows_shows_them_by_line(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    good = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'
    file.write_text(good + "not json\n" + good)
    page.goto("/datasets")
    page.locator("input[type=file]").first.set_input_files(str(file))
    expect(page.get_by_text("mixed").first).to_be_visible(timeout=15_000)
