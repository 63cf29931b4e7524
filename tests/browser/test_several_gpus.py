"""A job on four GPUs on its page: what it holds of each, and which of them a warning is about."""

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from backend.database import make_engine, make_sessions
from backend.jobs.following import follow
from backend.jobs.tables import JobRow
from backend.telemetry.recording import Recording
from backend.telemetry.told import as_told
from backend.users.tables import UserRow
from tests.api.make import spec, state, step
from tests.browser.test_pages import serious_problems
from tests.support.running import Running
from tunescope.events import MemoryFigure, StepEvent, WarningEvent, source_on_gpu
from tunescope.sentences import say
from tunescope.settings import ServerSettings
from tunescope.states import JobState
from tunescope.units import GIB

JOB, STEPS = "fourgpus", 40
UNTOLD = say("other_process_untold")


def held(number: int, of_gpu: int) -> dict[str, Any]:
    now = (30 + 2 * of_gpu) * GIB + number * GIB // 8
    return {"bytes": now - GIB, "peak_bytes": now}


def one_step(number: int) -> StepEvent:
    told = step(JOB, 2 + number, number)
    told.memory = [MemoryFigure(source="torch.allocated", bytes=20 * GIB, peak_bytes=25 * GIB)]
    told.memory.append(MemoryFigure(source="nvml.process", **held(number, 0)))
    told.memory += [MemoryFigure(source=source_on_gpu(gpu, "nvml.process"), **held(number, gpu)) for gpu in (2, 3)]
    silent = MemoryFigure(source=source_on_gpu(4, "nvml.process"), unknown_because=UNTOLD.text, unknown_sentence=UNTOLD)
    told.memory.append(silent)
    return told


@pytest.fixture(scope="module")
def job_on_four(server: Running) -> str:
    settings = ServerSettings(data_dir=server.data_dir, database_url="")
    climb = say("other_process_leaves", grown_bytes=14 * GIB, others_bytes=14 * GIB, free_bytes=GIB)
    said = say("on_gpu_of_machine", index=6, gpu=3, gpus=4, failure=climb)
    events = [state(JOB, 1, JobState.STARTING), state(JOB, 2, JobState.RUNNING)]
    events += [one_step(number) for number in range(1, STEPS + 1)]
    events += [
        WarningEvent(
            job=JOB,
            attempt=1,
            sequence=3 + STEPS,
            at=1000.0,
            step=STEPS,
            code="other_process",
            message=said.text,
            message_sentence=said,
        )
    ]
    events.append(state(JOB, 4 + STEPS, JobState.SUCCEEDED))
    with make_sessions(make_engine(settings.sqlalchemy_url())).begin() as session:
        owner = session.scalars(select(UserRow.id)).first()
        row = JobRow(id=JOB, name="on four", state="assigned", attempt=1, fence=1, owner_id=owner, spec=spec())
        row.gpus, row.step, row.created_at = [f"GPU-{number}" for number in range(4)], 0, time.time()
        session.add(row)
        session.flush()
        told = as_told(events)
        Recording().record(session, told)
        follow(session, {JOB: told})
    return JOB


def test_every_gpu_has_a_line_and_a_row_and_a_warning_names_its_own(page: Page, job_on_four: str) -> None:
    page.goto(f"/jobs/{job_on_four}")
    expect(
        page.get_by_text("On GPU 6 (number 3 of the job's 4): Another process on this GPU has grown")
    ).to_be_visible()
    chart = page.get_by_role("group", name=re.compile("^Peak memory of each GPU"))
    expect(chart).to_have_attribute("aria-label", re.compile(r"^Peak memory of each GPU: 41\.0 GiB"))
    legend = page.locator("figure").filter(has_text="Peak memory of each GPU").locator(".u-legend")
    for gpu in (1, 2, 3):
        expect(legend.get_by_text(f"GPU {gpu} of 4", exact=True)).to_be_visible()
    expect(page.get_by_text("Unknown: trainer on the GPU (nvml.process), GPU 4 of the job")).to_be_visible()
    assert "gpu2" not in page.locator("main").inner_text()
    assert serious_problems(page) == []
    page.get_by_role("tab", name="Memory").click()
    rows = page.get_by_role("row")
    expect(rows.filter(has_text="GPU 1 of 4")).to_contain_text("35.0 GiB")
    expect(rows.filter(has_text="GPU 3 of 4")).to_contain_text("41.0 GiB")
    expect(rows.filter(has_text="GPU 4 of 4")).to_contain_text("could not measure it")
    expect(page.get_by_text("The run ended before a step was measured.")).to_be_visible()
    expect(page.get_by_text("4 GPUs", exact=False).first).to_be_visible()
    assert serious_problems(page) == []


def test_the_fullest_gpu_stands_for_the_run(page: Page, job_on_four: str) -> None:
    page.goto(f"/jobs/{job_on_four}")
    expect(page.get_by_text("trainer on the GPU (nvml.process), GPU 3 of the job").first).to_be_visible()
    expect(page.get_by_text("41.0 GiB").first).to_be_visible()


def test_the_same_in_chinese_on_a_phone_in_the_dark(page: Page, job_on_four: str) -> None:
    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/jobs/{job_on_four}?tab=memory")
    expect(page.get_by_text("GPU 6（任务 4 块 GPU 中的第 3 块）：")).to_be_visible()
    expect(page.get_by_text("第 3 块 GPU（共 4 块）")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert serious_problems(page) == []
