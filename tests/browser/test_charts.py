"""A long run on its page: finer points on a closer look, all steps again, and a log that loads earlier lines."""

import re
import time

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from backend.database import make_engine, make_sessions
from backend.jobs.tables import JobRow
from backend.telemetry.recording import Recording
from backend.telemetry.told import as_told
from backend.users.tables import UserRow
from tests.api.make import line, spec, state, step
from tests.browser.test_pages import serious_problems
from tests.support.running import Running
from tunescope.events import EvaluationEvent
from tunescope.settings import ServerSettings
from tunescope.states import JobState
from tunescope.units import GIB

STEPS = 3000
LINES = 2500


@pytest.fixture(scope="module")
def long_job(server: Running) -> str:
    """A run that has ended, as the recorder left it."""
    settings = ServerSettings(data_dir=server.data_dir, database_url="")
    sessions = make_sessions(make_engine(settings.sqlalchemy_url()))
    job = "longrun"
    events = [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING)]
    events += [line(job, 2 + number, f"line {number}") for number in range(1, LINES + 1)]
    events += [step(job, 2 + LINES + number, number, 1 + 1 / number) for number in range(1, STEPS + 1)]
    at = 3 + LINES + STEPS
    events += [
        EvaluationEvent(job=job, attempt=1, sequence=at + place, at=1.0, step=number, loss=loss)
        for place, (number, loss) in enumerate([(1000, 1.75), (3000, 1.5)])
    ]
    events.append(state(job, at + 2, JobState.SUCCEEDED))
    with sessions.begin() as session:
        owner = session.scalars(select(UserRow.id)).first()
        row = JobRow(id=job, name="long run", state="succeeded", attempt=1, fence=1, owner_id=owner, spec=spec())
        row.gpus, row.step, row.total_steps, row.created_at = [], STEPS, STEPS, time.time()
        row.latest = {
            "loss": 1.0,
            "evaluation_loss": 1.5,
            "memory": [
                {"source": "torch.reserved", "bytes": 5 * GIB, "peak_bytes": 6 * GIB},
                {"source": "nvml.device", "bytes": 70 * GIB, "peak_bytes": 71 * GIB},
                {"source": "nvml.process", "bytes": 7 * GIB, "peak_bytes": 8 * GIB},
            ],
        }
        row.peaks = {"torch.reserved": 8 * GIB, "nvml.device": 79 * GIB, "nvml.process": 9 * GIB}
        session.add(row)
        session.flush()
        Recording().record(session, as_told(events))
    return job


def test_a_closer_look_by_keys_and_buttons(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    chart = page.get_by_role("group", name=re.compile("^Loss"))
    expect(chart).to_have_attribute("aria-label", re.compile(r"^Loss: 1\."))
    expect(page.get_by_text("All steps. Drag")).to_be_visible()
    chart.focus()
    with page.expect_response(lambda answer: "/metrics" in answer.url and "from=" in answer.url) as found:
        for _ in range(3):
            page.keyboard.press("+")
    assert found.value.json()["steps_per_point"] == 1
    expect(page.get_by_text(re.compile(r"^Steps 131\d to 168\d$"))).to_be_visible()
    page.get_by_role("button", name="Earlier steps").click()
    expect(page.get_by_text(re.compile(r"^Steps 11\d\d to 15\d\d$"))).to_be_visible()
    chart.focus()
    page.keyboard.press("Escape")
    expect(page.get_by_text("All steps. Drag")).to_be_visible()
    expect(page.get_by_role("button", name="All steps")).to_be_disabled()


def test_the_peak_is_the_highest_of_the_run_and_not_the_whole_gpus(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    expect(page.get_by_text("7.0 GiB", exact=True)).to_be_visible()
    expect(page.get_by_text("9.0 GiB", exact=True)).to_be_visible()
    expect(page.get_by_text("highest of the run")).to_be_visible()
    page.get_by_role("tab", name="Memory").click()
    expect(page.get_by_text("highest of the run · newest step 71.0 GiB")).to_be_visible()
    page.goto("/?q=long")
    expect(page.get_by_role("row", name=re.compile("long run"))).to_contain_text("7.0 GiBpeak 9.0 GiB")


def test_a_loss_that_is_no_number_is_told(page: Page, long_job: str) -> None:
    def diverged(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for job in body.get("items", [body]):
            job["latest"] = {**(job["latest"] or {}), "loss": None}
        route.fulfill(response=answer, json=body)

    page.route(re.compile(rf"/api/jobs(/{long_job})?\?"), diverged)
    page.goto(f"/jobs/{long_job}")
    expect(page.get_by_text("NaN", exact=True)).to_be_visible()
    expect(page.get_by_text("the training has diverged, try a lower learning rate")).to_be_visible()
    page.goto("/?q=long")
    expect(page.get_by_role("cell", name="NaN", exact=True)).to_be_visible()


def test_a_run_that_goes_on_shows_its_steps_before_it_takes_another(page: Page, long_job: str) -> None:
    def waiting(route: Route) -> None:
        job = route.fetch().json()
        again = {"state": "queued", "attempt": 2, "resume_from_attempt": 1, "latest": None}
        route.fulfill(json=job | again | {"progress": job["progress"] | {"step": 0}})

    def of_the_first_attempt(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"attempt": 2, "position": None, "last_step": None})

    page.route(f"**/api/jobs/{long_job}?*", waiting)
    page.route(f"**/api/jobs/{long_job}/metrics?*", of_the_first_attempt)
    page.goto(f"/jobs/{long_job}")
    expect(page.get_by_text(f"Step {STEPS} of {STEPS}")).to_be_visible()
    expect(page.get_by_role("group", name=re.compile("^Loss"))).to_be_visible()


def test_a_job_that_somebody_runs_again_is_followed_again(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    chart = page.get_by_role("group", name=re.compile("^Loss"))
    expect(chart).to_have_attribute("aria-label", re.compile(r"^Loss: 1\."))
    page.get_by_role("tab", name="Log").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text(f"line {LINES}")
    again = {"state": "running", "attempt": 2, "resume_from_attempt": 1}
    figures = {"attempt": 2, "position": None, "last_step": None}
    told = [line(long_job, 1, "of the second attempt"), step(long_job, 2, STEPS + 1, 0.125)]
    stream = "".join(
        f"id: 2-{event.sequence}\nevent: {event.kind}\ndata: {event.model_copy(update={'attempt': 2}).model_dump_json()}\n\n"
        for event in told
    )
    page.route(f"**/api/jobs/{long_job}/metrics?*", lambda route: route.fulfill(json=route.fetch().json() | figures))
    page.route(
        f"**/api/jobs/{long_job}/events*", lambda route: route.fulfill(content_type="text/event-stream", body=stream)
    )
    page.route(f"**/api/jobs/{long_job}/logs?*", lambda route: route.fulfill(json=route.fetch().json() | {"items": []}))
    page.route(f"**/api/jobs/{long_job}?*", lambda route: route.fulfill(json=route.fetch().json() | again))
    expect(log).to_have_text("of the second attempt")
    page.get_by_role("tab", name="Charts").click()
    expect(chart).to_have_attribute("aria-label", re.compile(r"^Loss: 0\.125"))


def test_evaluations_stand_beside_the_loss(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    expect(page.get_by_text("evaluation 1.5", exact=True)).to_be_visible()
    figure = page.get_by_role("figure").filter(has_text="Loss of the evaluation")
    expect(figure).to_have_count(1)
    figure.locator(".u-over").hover(position={"x": 5, "y": 20})
    expect(figure.get_by_role("row", name=re.compile("^Loss of the evaluation"))).to_contain_text("–")
    box = figure.locator(".u-over").bounding_box()
    assert box
    figure.locator(".u-over").hover(position={"x": box["width"] - 1, "y": 20})
    expect(figure.get_by_role("row", name=re.compile("^Loss of the evaluation"))).to_contain_text("1.5")


@pytest.fixture(scope="module")
def short_job(server: Running) -> str:
    """Another run of the same name with other losses, at fewer steps."""
    settings = ServerSettings(data_dir=server.data_dir, database_url="")
    job = "shortrun"
    events = [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING)]
    events += [step(job, 2 + number, number, 5 - number / 10) for number in range(1, 21)]
    with make_sessions(make_engine(settings.sqlalchemy_url())).begin() as session:
        owner = session.scalars(select(UserRow.id)).first()
        row = JobRow(id=job, name="long run", state="failed", attempt=1, fence=1, owner_id=owner, spec=spec())
        row.gpus, row.step, row.total_steps, row.created_at = [], 20, 30, time.time()
        row.latest = {"loss": 3.0}
        session.add(row)
        session.flush()
        Recording().record(session, as_told(events))
    return job


def test_losses_of_several_runs_are_laid_over_each_other(page: Page, long_job: str, short_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    page.get_by_role("link", name="Compare the loss with other runs").click()
    chart = page.get_by_role("group", name=re.compile("^Loss:"))
    expect(chart).to_have_attribute("aria-label", re.compile(r"^Loss: long run 1\. "))
    page.get_by_label("Runs").first.focus()
    page.keyboard.type(short_job)
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    names = rf"long run \({long_job}\) 1, long run \({short_job}\) 3"
    expect(chart).to_have_attribute("aria-label", re.compile(rf"^Loss: {names}\. "))
    figures = page.get_by_role("table", name="The runs in figures")
    expect(figures.get_by_role("row", name=re.compile(short_job))).to_contain_text("33 at step 20")
    expect(figures.get_by_role("row", name=re.compile(long_job))).to_contain_text("1.5")
    page.keyboard.press("Escape")
    page.get_by_role("switch", name="Smooth the curves").press("Space")
    expect(page.get_by_role("group", name=re.compile("^Loss, smoothed:"))).to_be_visible()
    page.reload()
    smoothed = page.get_by_role("group", name=re.compile("^Loss, smoothed:"))
    expect(smoothed).to_have_attribute("aria-label", re.compile(short_job))
    assert f"runs={long_job}%2C{short_job}" in page.url, "a link that can be shared"
    assert serious_problems(page) == []
    # Called alike and made in the same moment: the one's id tells it apart where it is chosen too.
    expect(page.get_by_text(re.compile(rf"^long run · .* · {short_job}$"))).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(smoothed).to_be_visible()
    # Nobody drags on a phone.
    page.get_by_role("button", name="Zoom in").click()
    expect(page.get_by_text(re.compile(r"^Steps \d+ to \d+$"))).to_be_visible()
    page.get_by_role("button", name="All steps").click()
    expect(page.get_by_text("All steps. Drag across a chart to look closer.")).to_be_visible()
    # The charts take their new width a frame after the page has.
    page.wait_for_function("document.documentElement.scrollWidth <= 390")


def test_runs_without_a_step_have_no_curve_and_it_is_said(page: Page, long_job: str) -> None:
    def without_steps(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"steps": [], "series": {}, "evaluations": []})

    page.route(f"**/api/jobs/{long_job}/metrics*", without_steps)
    page.goto(f"/losses?runs={long_job}")
    expect(page.get_by_text("none of these runs has taken a step")).to_be_visible()


def test_a_run_that_is_not_there_is_told_beside_the_others(page: Page, long_job: str) -> None:
    page.goto(f"/losses?runs=nowhere,{long_job}")
    expect(page.get_by_text("There is no job nowhere.")).to_be_visible()
    expect(page.get_by_role("group", name=re.compile("^Loss: long run"))).to_be_visible()


def test_figures_of_a_run_are_asked_for_once_its_state_is_known(page: Page, long_job: str) -> None:
    """Of one that ends between the two answers, the last steps would be missing for good."""
    told: list[str] = []
    page.on("request", lambda request: told.append("figures") if f"{long_job}/metrics" in request.url else None)
    page.on("response", lambda response: told.append("job") if response.url.endswith(f"/jobs/{long_job}") else None)
    page.goto(f"/losses?runs={long_job}")
    expect(page.get_by_role("group", name=re.compile("^Loss: long run"))).to_be_visible()
    assert told == ["job", "figures"]


def test_runs_that_a_link_has_too_many_of_are_told(page: Page, long_job: str) -> None:
    page.goto(f"/losses?runs={long_job},b,c,d,e,f,g,h,{long_job}")
    told = page.get_by_role("alert").filter(has_text="Runs of this link that are left out: 2")
    expect(told).to_contain_text("At most 6")
    page.goto(f"/losses?runs={long_job},b,c,d,e,f")
    expect(page.get_by_text("There is no job f.")).to_be_visible()
    expect(told).to_be_hidden()


@pytest.mark.parametrize(
    ("ended", "text"), [("failed", "Only a run that succeeds"), ("succeeded", "its files are no longer on this server")]
)
def test_why_a_run_that_ended_has_no_files(page: Page, long_job: str, ended: str, text: str) -> None:
    def as_ended(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"state": ended})

    page.route(f"**/api/jobs/{long_job}?*", as_ended)
    page.goto(f"/jobs/{long_job}")
    page.get_by_role("tab", name="Files").click()
    expect(page.get_by_text(text)).to_be_visible()


def test_answers_stand_beside_what_the_data_say(page: Page, long_job: str) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many bits has nf4?"}]
    told = {
        "of_evaluation": True,
        "answers": [
            {"asked": asked, "reference": "Four.", "before": "Nothing is known of it …", "after": "Four."},
            {"asked": "Once", "reference": " upon a time", "before": None, "after": ""},
        ],
    }
    url = f"/api/jobs/{long_job}/artifacts/answers.json"
    files = [{"name": "answers.json", "bytes": 1, "sha256": "0", "url": url}]

    def asking(route: Route) -> None:
        job = route.fetch().json()
        schedule = job["spec"].get("schedule", {}) | {"sample_answers": 2}
        route.fulfill(json=job | {"spec": job["spec"] | {"schedule": schedule}})

    page.route(f"**/api/jobs/{long_job}?*", asking)
    page.goto(f"/jobs/{long_job}?tab=answers")
    expect(page.get_by_text("The run ended before the model was asked")).to_be_visible()
    page.route(f"**/api/jobs/{long_job}/artifacts", lambda route: route.fulfill(json=files))
    page.route(f"**{url}", lambda route: route.fulfill(json=told))
    page.reload()
    expect(page.get_by_text("the model was not trained on them")).to_be_visible()
    expect(page.get_by_text("How many bits has nf4?")).to_be_visible()
    expect(page.get_by_text("Nothing is known of it …")).to_be_visible()
    expect(page.get_by_text("It said nothing.")).to_be_visible()
    assert serious_problems(page) == []


def test_dragging_zooms_every_chart_and_a_double_click_resets(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    area = page.get_by_role("group", name=re.compile("^Loss")).locator(".u-over")
    box = area.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    page.mouse.up()
    expect(page.get_by_text(re.compile(r"^Steps 7\d\d to 1[45]\d\d$"))).to_be_visible()
    area.dblclick()
    expect(page.get_by_text("All steps. Drag")).to_be_visible()


def test_the_log_shows_its_end_and_earlier_lines_on_request(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    page.get_by_role("tab", name="Log").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text(f"line {LINES}")
    expect(page.get_by_text("Lines shown: 1000")).to_be_visible()
    for shown in (2000, 2500):
        page.get_by_role("button", name="Load earlier lines").click()
        expect(page.get_by_text(f"Lines shown: {shown}")).to_be_visible()
    expect(page.get_by_role("button", name="Load earlier lines")).to_be_hidden()
    assert log.text_content().startswith("line 1\n")


def test_the_running_time_goes_on_between_two_answers(page: Page, long_job: str) -> None:
    def still_running(route: Route) -> None:
        job = route.fetch().json()
        route.fulfill(json=job | {"state": "running", "started_at": begun, "finished_at": None})

    begun = time.time() - 5
    page.route(f"**/api/jobs/{long_job}?*", still_running)
    page.goto(f"/jobs/{long_job}")
    figure = page.locator(".figure").last
    first = figure.inner_text()
    expect(figure).not_to_have_text(first)


def test_values_that_are_all_zero_have_an_axis_near_them(page: Page, long_job: str) -> None:
    """Of the loss alone, whose marks are then found among all that is drawn: no other chart of this job reaches 100 in tens."""

    def zeros(route: Route) -> None:
        told = route.fetch().json()
        told["series"] = {"loss": {name: [0.0 for _ in column] for name, column in told["series"]["loss"].items()}}
        route.fulfill(json=told)

    page.add_init_script(
        "window.drawn = new Set(); const draw = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...rest)"
        " { window.drawn.add(String(text)); return draw.call(this, text, ...rest); };"
    )
    page.route(f"**/api/jobs/{long_job}/metrics*", zeros)
    page.goto(f"/jobs/{long_job}")
    expect(page.get_by_role("group", name=re.compile("^Loss"))).to_have_attribute("aria-label", re.compile("^Loss: 0"))
    page.wait_for_function("window.drawn.has('0.5')")
    assert not page.evaluate("window.drawn.has('60')")
