"""How smooth a job's page is: ``python -m benchmarks.page_frames [SECONDS]``, with the page built and Chromium installed.

A job with 20,000 steps and 100,000 log lines behind it tells 20 more steps a second. Chromium shows its charts, then its log; prints
the time between frames, the JavaScript heap, and how long a zoom takes until finer points are drawn.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from backend.jobs.tables import JobRow
from benchmarks.telemetry_stage import ADMIN_TOKEN, Stage, stage, state, step_event, step_fields, wait
from tunescope.events import LogEvent, StepEvent
from tunescope.states import JobState
from worker.outbox import Outbox
from worker.relay import RelayThread

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
STEPS = 20_000
LINES = 100_000
PER_SECOND = 20
FRAMES = """async (seconds) => {
  const at = [];
  await new Promise((done) => {
    const begin = performance.now();
    const tick = (now) => { at.push(now); now - begin < 1000 * seconds ? requestAnimationFrame(tick) : done(); };
    requestAnimationFrame(tick);
  });
  const gaps = at.slice(1).map((now, index) => now - at[index]).sort((a, b) => a - b);
  return { frames: gaps.length / seconds, p50: gaps[gaps.length >> 1], p99: gaps[Math.floor(0.99 * gaps.length)],
           longest: gaps.at(-1), heap: performance.memory.usedJSHeapSize / 2 ** 20 };
}"""


def prepare(here: Stage, job: str) -> None:
    """An outbox of a run that is well under way."""
    folder = here.settings.data_dir / "jobs" / job / "1"
    folder.mkdir(parents=True)
    events = [state(job, 1, JobState.STARTING), state(job, 2, JobState.RUNNING)]
    with (folder / "outbox.jsonl").open("w") as file:
        for event in events:
            file.write(event.model_dump_json() + "\n")
        for number in range(1, LINES + 1):
            line = LogEvent(
                job=job,
                attempt=1,
                sequence=2 + number,
                at=time.time(),
                stream="stdout",
                line=f"line {number} of the log",
            )
            file.write(line.model_dump_json() + "\n")
        for number in range(1, STEPS + 1):
            file.write(step_event(job, 2 + LINES + number, number).model_dump_json() + "\n")


def go_on(here: Stage, job: str, relay: RelayThread, stop: threading.Event) -> None:
    """Tell steps at a steady pace."""
    box = Outbox(here.settings.data_dir / "jobs" / job / "1", job=job, attempt=1)
    number = STEPS
    while not stop.wait(1 / PER_SECOND):
        number += 1
        box.emit(StepEvent, **step_fields(number))
        relay.ring()


def measure(page: Page, what: str, seconds: float) -> None:
    found: dict[str, Any] = page.evaluate(FRAMES, seconds)
    print(
        f"{what:40} {found['frames']:5.1f} frames/s   between frames p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms,"
        f" longest {found['longest']:.0f} ms   heap {found['heap']:.0f} MiB",
        flush=True,
    )


def look(here: Stage, job: str, seconds: float) -> None:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        context = browser.new_context(
            base_url=here.url,
            viewport={"width": 1440, "height": 900},
            locale="en-US",
            extra_http_headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )
        page = context.new_page()
        page.goto("about:blank")
        measure(page, "an empty page", 3)
        page.goto(f"/jobs/{job}")
        page.get_by_text("Loss").first.wait_for()
        time.sleep(2)
        measure(page, f"charts, {PER_SECOND} steps/s", seconds)
        chart = page.get_by_role("group", name="Loss")
        chart.focus()
        began = time.perf_counter()
        with page.expect_response(lambda answer: "/metrics" in answer.url and "from=" in answer.url):
            for _ in range(6):
                page.keyboard.press("+")
        print(f"{'zoom by 64, until finer points came':40} {1000 * (time.perf_counter() - began):.0f} ms")
        measure(page, "charts, zoomed in", seconds / 2)
        if len(sys.argv) > 2:
            page.screenshot(path=sys.argv[2])
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Log").click()
        page.get_by_role("button", name="Load earlier lines").click()
        time.sleep(1)
        measure(page, "log of 100,000 lines", seconds / 2)
        nodes = page.evaluate("document.getElementsByTagName('*').length")
        print(f"{'elements on the page':40} {nodes}")
        browser.close()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory(prefix="tst-") as folder, stage(Path(folder)) as here:
        here.start_controller()
        here.start_api()
        (job,) = here.make_jobs(1, "page")
        prepare(here, job)
        relay = RelayThread(here.client)
        relay.add(here.settings.data_dir / "jobs" / job / "1", job=job, attempt=1)
        relay.start()
        wait(lambda: recorded_step(here, job) >= STEPS, 600, "recording")
        stop = threading.Event()
        pace = threading.Thread(target=go_on, args=(here, job, relay, stop))
        pace.start()
        try:
            look(here, job, seconds)
        finally:
            stop.set()
            pace.join()
            relay.stop()


def recorded_step(here: Stage, job: str) -> int:
    with here.sessions() as session:
        row = session.get(JobRow, job)
        return row.step if row else 0


if __name__ == "__main__":
    main()
