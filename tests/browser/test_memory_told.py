"""Climbs and a failure for lack of memory on a job's page: the same sentences in both languages, and what was held."""

import re
import time

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect
from sqlalchemy import select

from backend.database import make_engine, make_sessions
from backend.jobs.tables import JobRow
from backend.jobs.transitions import requeue
from backend.measured.probed import with_probe
from backend.problems import problem_response
from backend.telemetry.recording import Recording
from backend.telemetry.told import as_told
from backend.users.tables import UserRow
from tests.api.make import line, spec, state, step
from tests.browser.test_pages import serious_problems
from tests.support.running import Running
from tunescope.events import (
    AnatomyEvent,
    AnatomyPoint,
    CheckpointEvent,
    Failure,
    FailureMemory,
    LedgerEvent,
    MemoryFigure,
    WarningEvent,
)
from tunescope.problems import Conflict
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings
from tunescope.states import FailureReason, JobState
from tunescope.units import GIB
from worker.death import explain_death
from worker.trainer.failure import explain
from worker.trainer.watch import StepFacts, Watch

JOB = "toofull"
LOST = Failure(reason=FailureReason.MACHINE_LOST, detail="The worker on m1 stopped, or stopped answering.", advice="")
CUDA_FAULT = Failure(reason=FailureReason.TRAINER_CRASHED, detail="CUDA error: an illegal memory access", advice="")
KILLED = -9


@pytest.fixture(scope="module")
def full_job(server: Running) -> str:
    """A run whose memory rose until the kernel ended it, as the recorder left it."""
    watch, found = Watch(), []
    for number in range(1, 20):
        facts = StepFacts(step=number, used=number * GIB, device_used=number * GIB, device_total=40 * GIB)
        found += watch.step(facts)
    events = [state(JOB, 1, JobState.STARTING), state(JOB, 2, JobState.RUNNING), step(JOB, 3, 19)]
    events += [
        WarningEvent(
            job=JOB,
            attempt=1,
            sequence=4 + index,
            at=1000.0,
            step=item.step,
            code=item.code,
            message=item.message,
            message_sentence=item.sentence,
        )
        for index, item in enumerate(found)
    ]
    events.append(line(JOB, 4 + len(found), "the last words of attempt 1"))
    kept = CheckpointEvent(job=JOB, attempt=1, sequence=5 + len(found), at=1000.0, step=16, path="checkpoint-16")
    events.append(kept)
    held = FailureMemory(
        device="CPU", device_bytes=40 * GIB, step=19, categories={"weights": GIB}, categories_of_step=3, allocated_bytes=GIB
    )  # fmt: skip
    failure = explain_death(KILLED, 0, 1, ["step 19/1000"], held)
    settings = ServerSettings(data_dir=server.data_dir, database_url="")
    with make_sessions(make_engine(settings.sqlalchemy_url())).begin() as session:
        owner = session.scalars(select(UserRow.id)).first()
        row = JobRow(id=JOB, name="too full", state="running", attempt=1, fence=1, owner_id=owner, spec=spec())
        row.gpus, row.step, row.total_steps, row.created_at, row.machine = [], 7, 1000, time.time(), "m1"
        session.add(row)
        session.flush()
        for why in (LOST, CUDA_FAULT):
            assert requeue(session, row, resume_from_attempt=1, failure=why.model_dump(mode="json"))
            session.refresh(row)
        row.state, row.step, row.failure = "failed", 19, failure.model_dump(mode="json")
        Recording().record(session, as_told(events))
    return JOB


@pytest.fixture(scope="module")
def job_in_a_container(server: Running) -> str:
    """A run on a GPU whose driver tells no processes, with a probe before it, as the recorder left it."""
    job, hidden = "contained", say("other_process_numbers")
    account = {"weights": 5 * GIB, "activations": GIB, "workspace": GIB // 4}

    def ledger(sequence: int, number: int, probe: bool) -> LedgerEvent:
        return LedgerEvent(
            job=job, attempt=1, sequence=sequence, at=1000.0, step=number, source="cuda tensors", peak_phase="loss",
            peak_site="forward_end", categories=account, total_bytes=sum(account.values()),
            allocator_peak_bytes=sum(account.values()), unfollowed_bytes=GIB // 8, probe=probe,
            outside=[
                MemoryFigure(source="fragmentation", bytes=GIB),
                MemoryFigure(source="runtime_context", unknown_because=hidden.text, unknown_sentence=hidden),
            ],
        )  # fmt: skip

    told = [
        MemoryFigure(source="host.rss", bytes=3 * GIB, peak_bytes=3 * GIB),
        MemoryFigure(source="nvml.device", bytes=9 * GIB, peak_bytes=9 * GIB),
        MemoryFigure(source="torch.allocated", bytes=6 * GIB, peak_bytes=6 * GIB),
        MemoryFigure(source="torch.reserved", bytes=7 * GIB, peak_bytes=7 * GIB),
    ]
    events = [
        state(job, 1, JobState.STARTING),
        ledger(2, 2, probe=True),
        state(job, 3, JobState.RUNNING),
        *[step(job, 3 + number, number).model_copy(update={"memory": told}) for number in (1, 2)],
        ledger(6, 2, probe=False),
        AnatomyEvent(
            job=job, attempt=1, sequence=7, at=1000.0, step=2,
            points=[AnatomyPoint(seconds=0.0, phase="loss", bytes_by_category=account)],
        ),
    ]  # fmt: skip
    estimate = {
        "ledger": {"weights": 5 * GIB, "activations": GIB, "fragmentation": GIB, "runtime_context": GIB},
        "total_bytes": 8 * GIB, "site": "forward_end", "device": {"name": "H100-80GB", "total_bytes": 80 * GIB},
    }  # fmt: skip
    settings = ServerSettings(data_dir=server.data_dir, database_url="")
    with make_sessions(make_engine(settings.sqlalchemy_url())).begin() as session:
        owner = session.scalars(select(UserRow.id)).first()
        row = JobRow(id=job, name="contained", state="succeeded", attempt=1, fence=1, owner_id=owner, spec=spec())
        row.gpus, row.step, row.total_steps, row.created_at, row.machine = ["GPU-0"], 2, 2, time.time(), "m1"
        row.estimate = with_probe(estimate, ledger(2, 2, probe=True))
        session.add(row)
        session.flush()
        Recording().record(session, as_told(events))
    return job


def test_a_probe_and_what_a_container_hides_are_told(page: Page, job_in_a_container: str) -> None:
    page.goto(f"/jobs/{job_in_a_container}")
    # By the figure that stands for the run, not by main memory.
    chart = page.locator("figcaption").filter(has_text="Peak memory per step")
    expect(chart).to_contain_text("7.0 GiB")
    page.get_by_role("tab", name="Memory").click()
    expect(page.get_by_text("Measured by the probe")).to_be_visible()
    expect(page.get_by_text("CUDA context as predicted")).to_be_visible()
    measured = page.get_by_role("region", name="Measured, byte by byte")
    expect(measured.get_by_text("predicted 7.0 GiB")).to_be_visible()
    expect(measured.get_by_text("Not followed")).to_be_visible()
    expect(measured.get_by_text("Anatomy of step 2")).to_be_visible()
    measured.get_by_role("button", name="Probe: 7.3 GiB").click()
    expect(measured.get_by_role("heading", name="Step 2 of the probe")).to_be_visible()
    assert serious_problems(page) == []


def test_a_rise_and_its_end_are_told(page: Page, full_job: str) -> None:
    page.goto(f"/jobs/{full_job}")
    expect(page.get_by_text(re.compile(r"^Memory rises by 1\.0 GiB a step since step 4"))).to_be_visible()
    failure = page.get_by_role("alert")
    expect(failure).to_contain_text("out-of-memory killer ended the trainer")
    expect(failure).to_contain_text("Held at the peak of step 3 · CPU")
    expect(failure.get_by_role("img", name=re.compile("^Weights 1.0 GiB"))).to_be_visible()
    expect(failure).not_to_contain_text("Held at the peak of step 3: weights")
    expect(page.get_by_text("attempt 3, from the last checkpoint of attempt 1")).to_be_visible()
    expect(failure.get_by_role("button", name=re.compile("^Run with this: ")).first).to_be_visible()
    assert serious_problems(page) == []


def test_how_earlier_attempts_ended_is_told(page: Page, full_job: str) -> None:
    page.goto(f"/jobs/{full_job}")
    page.get_by_text("Earlier attempts and how they ended: 2").click()
    expect(page.get_by_text(LOST.detail)).to_be_visible()
    expect(page.get_by_text("Step 7 of 1000 · m1")).to_be_visible()
    expect(page.get_by_text(CUDA_FAULT.detail)).to_be_visible()
    assert serious_problems(page) == []
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download the log of attempt 1").click()
    assert saved.value.path().read_text() == "the last words of attempt 1\n"
    assert saved.value.suggested_filename == f"{full_job}-1.log"


def test_a_job_with_a_checkpoint_is_resumed_from_there(page: Page, full_job: str) -> None:
    page.goto(f"/jobs/{full_job}")
    page.get_by_role("button", name="Resume").focus()
    expect(page.get_by_role("tooltip")).to_have_text("Goes on from its last checkpoint, after step 16")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)


def test_the_same_in_chinese_on_a_phone_in_the_dark(page: Page, full_job: str) -> None:
    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/jobs/{full_job}")
    expect(page.get_by_text(re.compile("^自第 4 步起，显存每步上升 1.0 GiB"))).to_be_visible()
    failure = page.get_by_role("alert")
    expect(failure).to_contain_text("内核的 OOM killer 终止了训练进程")
    expect(failure).to_contain_text("第 3 步峰值时的占用")
    assert not re.search("Held|Use a smaller|The kernel", failure.inner_text())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert serious_problems(page) == []


def test_what_a_library_said_stays_whole_within_a_translated_sentence(page: Page, full_job: str) -> None:
    error = RuntimeError("CUDA error: device is lost {{phase}} $t(job:charts) in phase of step 3")
    failure = explain(error, "training", FailureMemory(device="GPU", step=19, phase="backward"))

    def lost(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"failure": failure.model_dump(mode="json")})

    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.route(f"**/api/jobs/{full_job}?*", lost)
    page.goto(f"/jobs/{full_job}")
    translated = f"第 19 步的反向阶段，GPU 或其驱动出错：{error}"
    expect(page.get_by_role("alert")).to_contain_text(translated)


FAULTS = [
    say("gpu_fault", machine="box", index=3, because=say("gpu_reset_needed")),
    say("machine_fault", machine="old", because="said by an older worker"),
]


@pytest.mark.parametrize(
    ("because", "told"),
    [
        (
            say("gpus_cannot_be_used", faults=FAULTS),
            "GPU 无法使用。box 的 GPU 3：GPU 需要重置后才能继续使用；old：said by an older worker。",
        ),
        (
            say("no_gpu_large_enough", need_bytes=60 * GIB, largest_bytes=24 * GIB),
            "任务约需一块 GPU 上 60.0 GiB 的显存；已连接的最大 GPU 只有 24.0 GiB",
        ),
    ],
)
def test_why_a_job_waits_is_told_in_chinese_from_its_kind_and_values(
    page: Page, full_job: str, because: Sentence, told: str
) -> None:
    waiting = {"waiting_because": because.text, "waiting_sentence": because.model_dump()}

    def waits(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | waiting | {"failure": None, "state": "queued"})

    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.route(f"**/api/jobs/{full_job}?*", waits)
    page.goto(f"/jobs/{full_job}")
    expect(page.get_by_text(told)).to_be_visible()


def test_a_sentence_whose_values_are_not_known_here_is_shown_as_its_text(page: Page, full_job: str) -> None:
    of_newer = {
        "kind": "gpu_fault",
        "text": "box, GPU 3: hot",
        "values": {"machine": "box", "index": None, "because": {}},
    }
    lacking = {"kind": "machine_fault", "text": "box: new", "values": {"box": "box"}}
    text = "The GPUs cannot be used. box, GPU 3: hot; box: new."
    sentence = {"kind": "gpus_cannot_be_used", "text": text, "values": {"faults": [of_newer, lacking]}}

    def waits(route: Route) -> None:
        told = {"waiting_because": text, "waiting_sentence": sentence, "failure": None, "state": "queued"}
        route.fulfill(json=route.fetch().json() | told)

    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.route(f"**/api/jobs/{full_job}?*", waits)
    page.goto(f"/jobs/{full_job}")
    expect(page.get_by_text("GPU 无法使用。box, GPU 3: hot；box: new。")).to_be_visible()


def test_a_failure_that_an_older_release_stored_is_shown_as_it_was_told(page: Page, full_job: str) -> None:
    def old(route: Route) -> None:
        failure = {"reason": "trainer_crashed", "detail": "The trainer was ended by SIGSEGV.", "advice": "See the log."}
        route.fulfill(json=route.fetch().json() | {"failure": failure})

    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.route(f"**/api/jobs/{full_job}?*", old)
    page.goto(f"/jobs/{full_job}")
    expect(page.get_by_role("alert")).to_contain_text("The trainer was ended by SIGSEGV.")
    expect(page.get_by_role("alert")).to_contain_text("See the log.")


def test_what_the_api_refuses_is_told_in_chinese(page: Page) -> None:
    problem = Conflict(say("job_has_ended", state="failed"), say("retry_or_clone"))
    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    body = problem_response(problem).body
    page.route("**/api/datasets", lambda route: route.fulfill(status=409, body=bytes(body)))
    page.goto("/datasets")
    expect(page.get_by_role("alert")).to_contain_text("该任务已结束：失败。")
    expect(page.get_by_role("alert")).to_contain_text("请再次运行，或克隆它。")


def test_what_is_wrong_with_an_uploaded_row_is_told_in_chinese(page: Page) -> None:
    page.add_init_script("localStorage.setItem('i18nextLng', 'zh-CN')")
    page.goto("/datasets")
    file: FilePayload = {"name": "rows.jsonl", "mimeType": "application/jsonl", "buffer": b'{"messages": 5}\n'}
    page.locator('input[type="file"]').set_input_files(file)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("“messages”必须是对话轮次的列表，而这里是数。请在文件中修正")
    assert not re.search("must|mend", alert.inner_text())


def test_one_click_starts_it_anew_with_a_change(page: Page, full_job: str) -> None:
    asked: list[dict[str, dict[str, object]]] = []

    def started(route: Route) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(status=201, json={"id": "anew"})

    page.route("**/clone", started)
    page.goto(f"/jobs/{full_job}")
    page.get_by_role("button", name=re.compile("^Run with this: ")).first.click()
    page.wait_for_url("**/jobs/anew")
    (sent,) = asked
    assert sent["patch"] and all("." in path for path in sent["patch"])
