"""The exact trace on the page, by the real worker: asked for in the form, and there for a submitted job."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_job import demo_spec, submit
from tests.browser.test_pages import serious_problems
from tests.support.running import Running
from tests.support.waiting import until

pytestmark = pytest.mark.slow
MILLISECONDS = 240_000


def test_a_spec_is_verified_in_the_form_and_the_answer_goes_when_it_changes(page: Page) -> None:
    page.goto("/new")
    page.get_by_role("button", name="Verify exactly").click()
    expect(page.get_by_text("Verified by trace")).to_be_visible(timeout=MILLISECONDS)
    expect(page.get_by_text("Smallest budget", exact=True)).to_be_visible()
    slider = page.get_by_role("slider", name="Moment of the step")
    slider.focus()
    slider.press("Home")
    assert "forward" in (slider.get_attribute("aria-valuetext") or "")
    page.get_by_text("Peak of each phase as a table").click()
    expect(page.get_by_role("columnheader", name="optimizer")).to_be_visible()
    assert serious_problems(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    width = "document.documentElement.scrollWidth"
    until(lambda: page.evaluate(width) <= 390, within=5, what="a page that fits 390 px")
    page.get_by_label("Rank r").fill("64")
    expect(page.get_by_role("button", name="Verify exactly")).to_be_visible()


def test_a_job_shows_its_step_before_it_has_run(page: Page, server: Running) -> None:
    with server.client() as client:
        job = submit(client, demo_spec(steps=2))
    page.goto(f"/jobs/{job}")
    page.get_by_role("tab", name="Memory").click()
    panel = page.get_by_role("region", name="Exact memory of one step")
    expect(panel.get_by_text("Active peak")).to_be_visible(timeout=MILLISECONDS)
    expect(panel.get_by_role("img", name="Memory over one training step")).to_be_visible()
    assert serious_problems(page) == []
