"""Ways through the page beside launching: comparing, finding jobs, people and tokens, keys, lost servers, lost pages."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import delete, select

from backend.database import make_engine, make_sessions
from backend.jobs.tables import JobRow
from backend.users.tables import UserRow
from tests.api.make import spec
from tests.browser.test_first_job import demo_spec
from tests.browser.test_pages import serious_problems
from tests.support.running import Running
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.units import GIB, MIB

NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
"""As on a page that came over plain HTTP from another machine."""


def total(page: Page, letter: str) -> str:
    return page.get_by_role("region", name=f"Side {letter}").inner_text()


def test_the_comparison_opens_on_the_seeds_question(page: Page) -> None:
    page.goto("/why")
    expect(page.get_by_role("heading", level=2, name=re.compile("^B needs .* less than A$"))).to_be_visible()
    expect(page.get_by_text("Published: 20.4 GB (19.0 GiB) at 512 tokens.")).to_be_visible()
    expect(page.get_by_text("Published: 18.01 GiB at 512 tokens.")).to_be_visible()
    expect(page.get_by_text("at 512 tokens B needs less, from 2048 tokens up A.")).to_be_visible()


def test_a_changed_side_moves_the_bytes_and_a_link_brings_it_back(page: Page) -> None:
    page.goto("/why")
    expect(page.get_by_role("region", name="Side B")).to_contain_text("Weights")
    before = total(page, "B")
    page.get_by_role("button", name="Settings of B").click()
    page.get_by_role("region", name="Side B").get_by_role("textbox", name="Rank r").fill("128")
    expect(page.get_by_text("adaptation.r = 128")).to_be_visible()
    expect(page.get_by_role("region", name="Side B")).not_to_have_text(before)
    link = page.url
    page.goto("/")
    page.goto(link)
    expect(page.get_by_text("adaptation.r = 128")).to_be_visible()
    page.get_by_role("button", name="Settings of B").click()
    page.get_by_role("region", name="Side B").get_by_role("textbox", name="Rank r").fill("0")
    expect(page.get_by_role("region", name="Side B").get_by_role("textbox", name="Rank r")).to_have_attribute(
        "aria-invalid", "true"
    )


def test_marks_of_the_length_chart_differ_for_small_models_too(page: Page) -> None:
    small = "model.id:Qwen/Qwen2.5-0.5B-Instruct;data.max_length:512"
    page.goto(f"/why?a=swift-now-qlora&b=unsloth-qlora&ac={small}&bc={small}")
    marks = page.locator("svg.plot text", has_text="iB")
    expect(marks.first).to_be_visible()
    told = marks.all_text_contents()
    assert len(told) == len(set(told)) > 3, told


@pytest.mark.parametrize(("highest_mebibytes", "marks"), [(1010, "500 MiB"), (1030, "0.5 GiB")])
def test_marks_of_the_length_chart_are_round_in_the_unit_that_they_are_named_in(
    page: Page, highest_mebibytes: int, marks: str
) -> None:
    def answer(route: Route) -> None:
        told = route.fetch().json()
        lengths = [{"tokens": 256 * 2**power, "a_bytes": highest_mebibytes * MIB, "b_bytes": MIB} for power in range(4)]
        route.fulfill(json=told | {"by_length": lengths})

    page.route("**/api/explanations*", answer)
    small = "model.id:Qwen/Qwen2.5-0.5B-Instruct"  # nobody has published measurements of it
    page.goto(f"/why?a=swift-now-qlora&b=unsloth-qlora&ac={small}&bc={small}")
    expect(page.locator("svg.plot text", has_text=re.compile(f"^{marks}$"))).to_have_count(1)


@pytest.fixture
def two_measured_jobs(server: Running) -> Iterator[tuple[str, str]]:
    """Two runs on a GPU, older than all that the page offers to compare."""
    settings = ServerSettings(data_dir=server.data_dir, database_url="")
    sessions = make_sessions(make_engine(settings.sqlalchemy_url()))
    jobs = {"measured-a": 4 * GIB, "measured-b": 3 * GIB}
    with sessions.begin() as session:
        owner = session.scalars(select(UserRow.id)).first()
        for job in [*jobs, *(f"newer-{number}" for number in range(60))]:
            row = JobRow(id=job, name=job, state="succeeded", attempt=1, fence=1, owner_id=owner, spec=spec(), gpus=[])
            row.peak_gpu_bytes = jobs.get(job)
            row.estimate = {"tier": "trace", "total_bytes": 5 * GIB} if job == "measured-a" else None
            row.created_at = 1.0 if job in jobs else time.time()
            session.add(row)
    yield "measured-a", "measured-b"
    with sessions.begin() as session:
        session.execute(delete(JobRow).where(JobRow.id.startswith("measured-") | JobRow.id.startswith("newer-")))


def test_runs_that_were_measured_show_what_they_differed_by(page: Page, two_measured_jobs: tuple[str, str]) -> None:
    a, b = two_measured_jobs
    page.goto(f"/why?a={a}&b={b}")
    expect(page.get_by_role("heading", level=2, name="Both need the same")).to_be_visible()
    expect(page.get_by_text("Measured: A 4.0 GiB, B 3.0 GiB.")).to_be_visible()
    expect(
        page.get_by_text("B needed 1.0 GiB less. The sections below leave 1.0 GiB of that unexplained.")
    ).to_be_visible()
    side = page.get_by_role("region", name="Side A")
    expect(side).to_contain_text("Measured: 4.0 GiB at the highest. The prediction is −")
    # Its own page tells another figure, so that this one says where that is from.
    expect(side).to_contain_text("On the job's page: 5.0 GiB, from its exact trace.")
    expect(page.get_by_role("region", name="Side B")).not_to_contain_text("On the job's page")
    # However old it is, the chosen job is named and can be changed.
    expect(side.get_by_role("textbox", name="Side A")).to_have_value(re.compile("^measured-a · "))
    expect(side.get_by_role("button", name="Settings of A")).to_be_visible()


def test_a_comparison_with_a_job_that_is_gone_says_so_at_its_side(
    page: Page, two_measured_jobs: tuple[str, str]
) -> None:
    page.goto(f"/why?a=deleted-job&b={two_measured_jobs[1]}")
    side = page.get_by_role("region", name="Side A")
    expect(side).to_contain_text("There is no recipe or job deleted-job on this server any more; choose another")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("link", name="Their losses")).to_have_count(0)
    side.get_by_role("textbox", name="Side A").click()
    page.get_by_role("option", name=re.compile("^newer-59 ")).click()
    expect(page.get_by_role("region", name="Side A")).to_contain_text("Weights")
    expect(page.get_by_role("link", name="Their losses")).to_be_visible()


def test_one_run_alone_is_compared_with_what_a_change_would_make_of_it(
    page: Page, two_measured_jobs: tuple[str, str]
) -> None:
    page.goto(f"/why?a={two_measured_jobs[0]}")
    expect(page.get_by_role("heading", level=2, name="Both need the same")).to_be_visible()
    for letter in "AB":
        side = page.get_by_role("region", name=f"Side {letter}").get_by_role("textbox", name=f"Side {letter}")
        expect(side).to_have_value(re.compile("^measured-a · "))

    hint = page.get_by_text("Both sides are the same. Choose another job or recipe as side B")
    expect(hint).to_be_visible()
    expect(page.get_by_role("link", name="Their losses")).to_have_count(0)
    page.goto(f"/why?a={two_measured_jobs[0]}&b={two_measured_jobs[1]}")
    expect(page.get_by_role("link", name="Their losses")).to_have_attribute(
        "href", re.compile(f"runs={two_measured_jobs[0]}%2C{two_measured_jobs[1]}")
    )
    expect(hint).to_be_hidden()


def test_jobs_are_ticked_and_taken_to_their_losses_or_the_difference(
    page: Page, two_measured_jobs: tuple[str, str]
) -> None:
    page.goto("/?q=newer-1")
    bar = page.get_by_role("region", name="Ticked jobs")
    page.get_by_role("checkbox", name="Tick newer-11", exact=True).press("Space")
    expect(bar).to_contain_text("Ticked: 1")
    why = bar.get_by_text("Why their memory differs", exact=True)
    # It leads nowhere yet, can be reached all the same, and says why.
    refused = bar.get_by_role("button", name="Why their memory differs")
    expect(refused).to_have_accessible_description("Tick exactly two jobs to see why their memory differs.")
    refused.press("Enter")
    # One that the first search does not find can be the second.
    page.get_by_label("Search by name or id").fill("newer-2")
    page.get_by_role("checkbox", name="Tick newer-21", exact=True).press("Space")
    expect(bar).to_contain_text("Ticked: 2")
    assert serious_problems(page) == []
    why.click()
    expect(page).to_have_url(re.compile(r"/why\?a=newer-11&b=newer-21"))
    # They stay ticked in this tab, whichever page is looked at in between, until all are unticked.
    page.goto("/?q=newer-2")
    expect(bar).to_contain_text("newer-11, newer-21")
    for losses in page.get_by_role("link", name="Compare losses").all():
        expect(losses).to_have_attribute("href", "/losses?runs=newer-11%2Cnewer-21")
    expect(page.get_by_role("checkbox", name="Tick newer-21", exact=True)).to_be_checked()
    bar.get_by_role("button", name="Untick all").click()
    expect(bar).to_be_hidden()
    page.goto("/?q=newer-")
    for number in range(50, 57):
        page.get_by_role("checkbox", name=f"Tick newer-{number}", exact=True).check()
    expect(bar).to_contain_text("Tick at most 6 jobs to compare their losses.")
    expect(bar.get_by_role("link")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("checkbox", name="Tick newer-56", exact=True).uncheck()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    bar.get_by_role("link", name="Compare losses").click()
    ids = "%2C".join(f"newer-{number}" for number in range(50, 56))
    expect(page).to_have_url(re.compile(f"/losses\\?runs={ids}$"))


def test_a_job_that_was_deleted_is_no_longer_ticked(page: Page, two_measured_jobs: tuple[str, str]) -> None:
    page.goto("/?q=newer-1")
    page.get_by_role("checkbox", name="Tick newer-11", exact=True).check()
    page.evaluate("sessionStorage.setItem('tunescope.ticked', JSON.stringify(['newer-11', 'deleted']))")
    page.reload()
    expect(page.get_by_role("region", name="Ticked jobs")).to_contain_text("Ticked: 1")


def test_ticked_jobs_that_are_not_listed_are_asked_for_at_once(page: Page, two_measured_jobs: tuple[str, str]) -> None:
    page.goto("/?q=newer-1")
    page.evaluate("sessionStorage.setItem('tunescope.ticked', JSON.stringify(['newer-21', 'newer-22', 'newer-23']))")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "newer-2" in request.url else None)
    page.reload()
    expect(page.get_by_role("region", name="Ticked jobs")).to_contain_text("newer-21, newer-22, newer-23")
    assert len(asked) == 1, asked


def told_of(page: Page, job: str, **told: Any) -> None:
    """Opens a job's page with other figures than the server has."""
    page.route(f"**/api/jobs/{job}?*", lambda route: route.fulfill(json=route.fetch().json() | told))
    page.goto(f"/jobs/{job}")


@pytest.mark.parametrize(("reason", "main"), [("invalid_settings", "link"), ("gpu_lost", "button")])
def test_the_main_way_on_from_a_failure_is_the_one_that_helps(
    page: Page, two_measured_jobs: tuple[str, str], reason: str, main: str
) -> None:
    failure = {"reason": reason, "detail": "It did not work.", "advice": "Try.", "suggestions": [], "last_lines": []}
    told_of(page, two_measured_jobs[0], state="failed", failure=failure)
    retry = page.get_by_role("button", name="Retry")
    change = page.get_by_role("link", name="Change settings and run again")
    expect(retry).to_have_attribute("data-variant", "filled" if main == "button" else "default")
    expect(change).to_have_attribute("data-variant", "filled" if main == "link" else "default")
    expect(change).to_have_attribute("href", f"/new?from={two_measured_jobs[0]}")
    assert serious_problems(page) == []


def test_what_somebody_else_was_faster_with_is_no_problem(page: Page, two_measured_jobs: tuple[str, str]) -> None:
    job = two_measured_jobs[0]
    refused = {"title": "Not possible", "status": 409, "detail": "This one is starting.", "fix": "", "errors": []}
    told_of(page, job, state="cancelled")
    page.route(
        f"**/api/jobs/{job}/retry",
        lambda route: route.fulfill(status=409, json=refused, content_type="application/problem+json"),
    )
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("alert")).to_contain_text("This one is starting.")
    page.route(f"**/api/jobs/{job}?*", lambda route: route.fulfill(json=route.fetch().json() | {"state": "starting"}))
    expect(page.get_by_role("button", name="Cancel job")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_job_that_could_not_be_cancelled_is_not_shown_as_cancelling(
    page: Page, two_measured_jobs: tuple[str, str]
) -> None:
    job = two_measured_jobs[0]
    told_of(page, job, state="running")
    page.get_by_role("button", name="Cancel job").click()
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
    expect(page.get_by_role("alert").filter(has_text="does not answer").first).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ({"redis": False, "controller_connected": False, "worker_connected": False}, "Redis does not answer"),
        (
            {
                "redis_refuses": "MISCONF No space left on device",
                "controller_connected": False,
                "worker_connected": False,
            },
            "Redis writes nothing",
        ),
        ({"starting": True, "controller_connected": False, "worker_connected": False}, "Tunescope is starting"),
        ({"controller_connected": False, "starting": False}, "The controller does not run"),
        ({"worker_connected": False, "starting": False}, "No worker is connected"),
    ],
)
def test_a_job_that_waits_for_a_missing_part_says_once_for_which(
    page: Page, two_measured_jobs: tuple[str, str], missing: dict[str, bool | str], told: str
) -> None:
    page.route("**/api/health", lambda route: route.fulfill(json=route.fetch().json() | missing))
    sentence = {"kind": "no_worker", "text": "No worker is connected.", "values": {}}
    told_of(page, two_measured_jobs[0], state="queued", waiting_because=sentence["text"], waiting_sentence=sentence)
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_text("No worker is connected")).to_have_count(1 if told.startswith("No worker") else 0)
    waits = {"state": "queued", "waiting_because": sentence["text"], "waiting_sentence": sentence}

    def wait(route: Route) -> None:
        told_now = route.fetch().json()
        route.fulfill(json=told_now | {"items": [item | waits for item in told_now["items"]]})

    page.route("**/api/jobs?*", wait)
    page.goto("/")
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.get_by_text("Queued", exact=True).first).to_be_visible()
    expect(page.get_by_text("No worker is connected")).to_have_count(1 if told.startswith("No worker") else 0)


def test_the_keyboard_keeps_its_place_when_language_and_colours_change(page: Page) -> None:
    page.goto("/machines")
    for name, then in (("Dark colours", "Light colours"), ("切换到中文", "Switch to English")):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=then)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=name)).to_be_focused()


def test_the_menu_of_a_phone_is_entered_and_left_by_keyboard(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/machines")
    menu = page.get_by_role("button", name="Menu", exact=True)
    for leave in ("Escape", "Enter"):
        menu.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Close menu")).to_be_focused()
        page.keyboard.press(leave)
        expect(menu).to_be_focused()
        expect(page.get_by_role("link", name="Data sets")).not_to_be_in_viewport()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Machines").click()
    expect(page.get_by_role("link", name="Data sets")).not_to_be_in_viewport()


def test_the_address_of_a_job_without_its_id_leads_to_all_jobs(page: Page) -> None:
    page.goto("/jobs")
    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()


@pytest.mark.parametrize(
    ("kind", "left_out", "warns"),
    [
        ("nothing_learned_of_rows", 97, True),
        ("nothing_learned_of_rows", 20, True),
        ("nothing_learned_of_rows", 19, False),
        ("problem_rows_left_out", 20, True),
    ],
)
def test_more_than_a_tenth_of_the_rows_left_out_is_a_warning(
    page: Page, two_measured_jobs: tuple[str, str], kind: str, left_out: int, warns: bool
) -> None:
    note = say(kind, left_out=left_out, rows=194, **({"tokens": 64} if kind == "nothing_learned_of_rows" else {}))
    told_of(page, two_measured_jobs[0], notes=[note.text], note_sentences=[note.model_dump(mode="json")])
    expect(page.get_by_text(f"{left_out} of 194 rows")).to_be_visible()
    expect(page.get_by_text("Much of the data is not learned from")).to_have_count(int(warns))
    assert serious_problems(page) == []


def test_jobs_are_searched_and_filtered_in_the_address(page: Page, server: Running) -> None:
    with server.client() as client:
        spec = {"name": "needle", "model": {"id": "smollm2-135m-instruct", "source": "library"}}
        job = client.post("/api/jobs", json=spec | {"data": {"dataset": "vram-questions"}}).json()["id"]
        client.post(f"/api/jobs/{job}/cancel").raise_for_status()
    page.goto("/")
    page.get_by_label("Search by name or id").fill("needle")
    expect(page.get_by_role("link", name="needle", exact=True)).to_be_visible()
    page.get_by_text("Succeeded", exact=True).first.click()
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Search by name or id")).to_have_value("needle")
    page.get_by_role("link", name="Show all jobs").click()
    expect(page.get_by_role("link", name="needle", exact=True)).to_be_visible()


def test_the_search_field_says_what_is_listed(page: Page, two_measured_jobs: tuple[str, str]) -> None:
    page.goto("/?q=measured-a")
    expect(page.get_by_role("link", name="measured-b", exact=True)).to_be_hidden()
    page.get_by_role("navigation").get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("link", name="newer-59", exact=True)).to_be_visible()
    expect(page.get_by_label("Search by name or id")).to_have_value("")
    page.get_by_text("Succeeded", exact=True).first.click()
    expect(page).to_have_url(re.compile(r"show=succeeded$"))
    expect(page.get_by_role("link", name="newer-59", exact=True)).to_be_visible()


def test_single_keys_lead_and_are_listed(page: Page) -> None:
    page.goto("/datasets")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1, name="New job")).to_be_visible()
    page.keyboard.press("w")
    expect(page).to_have_url(re.compile("/why"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


def test_a_token_is_shown_once_and_revoked_with_a_question(page: Page) -> None:
    page.goto("/settings")
    page.get_by_label("Name of a new token").fill("laptop")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_text(re.compile("^tsc_"))).to_be_visible()
    page.reload()
    expect(page.get_by_text("laptop", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("^tsc_"))).to_be_hidden()
    page.get_by_role("button", name="Revoke laptop").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_text("laptop", exact=True)).to_be_hidden()


def test_text_is_copied_over_plain_http_too(page: Page) -> None:
    page.add_init_script(NO_CLIPBOARD)
    page.goto("/why")
    page.get_by_role("button", name="QLoRA", exact=True).click()
    expect(page).to_have_url(re.compile("a=qwen-official-qlora"))
    copy = page.get_by_role("button", name="Copy link")
    copy.focus()
    page.keyboard.press("Enter")
    copied = page.get_by_role("button", name="Link copied")
    expect(copied).to_be_focused()
    address = page.url
    page.goto("/models")
    field = page.get_by_label("Absolute path on the server")
    field.click()
    page.keyboard.press("Control+V")
    expect(field).to_have_value(address)


def test_a_comparison_prints_as_it_is_seen(page: Page) -> None:
    page.goto("/why")
    expect(page.get_by_role("heading", level=2, name=re.compile("^B needs"))).to_be_visible()
    navigation = page.get_by_role("link", name="Machines")
    expect(navigation).to_be_visible()
    page.emulate_media(media="print")
    expect(navigation).to_be_hidden()
    left = page.get_by_role("heading", level=1).bounding_box()
    assert left and left["x"] < 100, "no room is left for what is not printed"
    bar = page.get_by_role("region", name="Side A").locator(".ledger-bar").first
    assert bar.evaluate("bar => getComputedStyle(bar).printColorAdjust") == "exact"


def test_a_copy_that_the_browser_refuses_is_told(page: Page) -> None:
    page.add_init_script(NO_CLIPBOARD + "document.execCommand = () => false;")
    page.goto("/why")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("The browser does not let this page copy.")).to_be_visible()


def test_tabs_out_of_sight_leave_the_connections_to_the_one_in_sight(page: Page, server: Running) -> None:
    """A browser has six connections to a server, and a stream holds one for as long as it is followed."""
    page.context.add_init_script(
        "let seen = 'visible'; Object.defineProperty(document, 'visibilityState', {get: () => seen});"
        "window.look = (now) => { seen = now; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    with server.client() as client:
        job = client.post("/api/jobs", json=demo_spec(steps=2000)).raise_for_status().json()["id"]
        try:
            tabs = [page.context.new_page() for _ in range(7)]
            for tab in tabs:
                with tab.expect_request(lambda request: "/events" in request.url):
                    tab.goto(f"/jobs/{job}")
                expect(tab.get_by_role("heading", level=1)).to_be_visible()
                with tab.expect_event("requestfailed", lambda request: "/events" in request.url):
                    tab.evaluate("look('hidden')")
            with tabs[0].expect_request(lambda request: "/events" in request.url):
                tabs[0].evaluate("look('visible')")
        finally:
            client.post(f"/api/jobs/{job}/cancel").raise_for_status()


def test_a_short_password_is_refused_at_its_field(page: Page) -> None:
    page.goto("/settings")
    page.get_by_label("Username").fill("bob")
    page.get_by_label("First password").fill("short")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("a password has at least 10 characters")).to_be_visible()


def test_a_directory_without_weights_is_refused_at_its_field(page: Page) -> None:
    page.goto("/models")
    page.get_by_label("Name", exact=True).fill("mine")
    page.get_by_label("Absolute path on the server").fill("/nowhere/at/all")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("this is not a directory on the server")).to_be_visible()


def test_a_lost_server_is_told_and_its_return_noticed(page: Page) -> None:
    page.goto("/models")
    expect(page.get_by_role("heading", name="smollm2-135m-instruct")).to_be_visible()

    def lost(route: Route) -> None:
        route.abort()

    page.route("**/api/**", lost)
    expect(page.get_by_text("The server does not answer.")).to_be_visible(timeout=15_000)
    page.unroute("**/api/**", lost)
    expect(page.get_by_text("The server does not answer.")).to_be_hidden(timeout=15_000)


def test_a_server_on_this_machine_is_asked_without_a_network_too(page: Page) -> None:
    page.goto("/machines")
    expect(page.get_by_role("heading", level=1, name="Machines")).to_be_visible()
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="smollm2-135m-instruct")).to_be_visible()


def test_unknown_addresses_lead_back(page: Page) -> None:
    page.goto("/no/such/page")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    page.get_by_role("link", name="To the jobs").click()
    expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_visible()


def test_a_job_that_is_not_there_is_told_and_not_asked_for_again(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/jobs/" in request.url else None)
    page.goto("/jobs/no%2Fsuch%20job")
    expect(page.get_by_role("heading", level=1, name="There is no such job")).to_be_visible()
    page.wait_for_timeout(500)
    before = len(asked)
    page.wait_for_timeout(3000)  # it would be asked for again after 2 s
    assert len(asked) == before and not any(url.endswith("/events") for url in asked), asked
    page.get_by_role("link", name="All jobs").click()
    expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_visible()


def test_a_session_that_ends_meanwhile_leads_to_the_sign_in(page: Page, server: Running) -> None:
    page.goto("/machines")
    expect(page.get_by_role("heading", level=1, name="Machines")).to_be_visible()
    answer = page.context.request.delete("/api/session", headers={"X-Tunescope-CSRF": "1"})
    assert answer.ok
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.url.endswith("/sign-in?next=%2Fmachines")


def test_signing_out_leaves_nothing_for_whoever_signs_in_next(page: Page, server: Running) -> None:
    page.goto("/new")
    page.get_by_role("textbox", name="Name", exact=True).fill("adas-draft")
    page.goto("/settings")
    page.get_by_role("button", name="Sign out").click()
    with server.client() as client:
        answer = client.post("/api/users", json={"username": "bob", "password": "another password", "role": "member"})
        assert answer.status_code == 201, answer.text
    page.get_by_label("Username").fill("bob")
    page.locator("input[type=password]").fill("another password")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="New job").first.click()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("my-run")


def test_the_api_reference_opens_after_signing_in(browser: Browser, server: Running) -> None:
    page = browser.new_page(base_url=server.url)
    page.goto("/api/docs")
    page.get_by_label("Username").fill("ada")
    page.locator("input[type=password]").fill("a password for tests")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="REST API")).to_be_visible()
    page.close()


def test_signing_in_leads_to_the_page_that_was_asked_for(browser: Browser, server: Running) -> None:
    page = browser.new_page(base_url=server.url)
    page.goto("/?q=needle")
    page.get_by_label("Username").fill("ada")
    page.locator("input[type=password]").fill("a password for tests")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Search by name or id")).to_have_value("needle")
    page.close()
