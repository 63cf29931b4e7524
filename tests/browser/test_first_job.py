"""The main job at each door: a QLoRA fine-tune of the real demo model, and the memory of LoRA and full beside it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import signed_in
from tests.browser.test_pages import serious_problems
from tests.support.running import ROOT, Running
from tests.support.waiting import until

pytestmark = pytest.mark.slow

STEPS = 8
DEMO = "first-qlora-run"
SCROLLS = "document.documentElement.scrollWidth"
TERMINAL = {"succeeded", "failed", "cancelled"}


def demo_spec(method: str = "lora", quantization: str = "nf4", steps: int = STEPS) -> dict[str, Any]:
    return {
        "name": f"first-{method}-{quantization}",
        "model": {"id": "smollm2-135m-instruct", "source": "library"},
        "adaptation": {"method": method},
        "precision": {"quantization": quantization},
        "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1},
        "data": {"dataset": "vram-questions", "max_length": 128},
        "optimizer": {"learning_rate": 5e-4 if method == "lora" else 2e-5},
        "schedule": {"max_steps": steps},
    }


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def finished(client: httpx.Client, job: str, within: float = 240) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        row = client.get(f"/api/jobs/{job}").raise_for_status().json()
        return row if row["state"] in TERMINAL else None

    return until(look, within=within, what=f"job {job} to end", every=0.5) or {}


def tunescope(server: Running, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tunescope", *words],
        cwd=ROOT,
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def submit(client: httpx.Client, spec: dict[str, Any]) -> str:
    answer = client.post("/api/jobs", json=spec)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def peak_memory(client: httpx.Client, job: str, steps: int) -> float:
    """The greatest memory, in bytes, that the trainer's process held in its first ``steps`` steps.

    A process keeps a little more with every step (what malloc cannot give back), so only runs of as many steps
    can be compared.
    """
    series = client.get(f"/api/jobs/{job}/metrics").raise_for_status().json()["series"]
    return max(series["memory_peak.host.rss"]["max"][:steps])


def launch_from_the_page(page: Page) -> str:
    """Press "Try a QLoRA run", with fewer steps and shorter rows than its own; returns the job's id."""

    def shortened(route: Route) -> None:
        spec = route.request.post_data_json
        if spec is None:
            route.continue_()
        else:
            data, schedule = demo_spec()["data"], demo_spec()["schedule"]
            route.continue_(post_data=json.dumps(spec | {"data": data, "schedule": schedule}))

    page.route("**/api/jobs", shortened)
    page.goto("/")
    page.get_by_role("button", name="Try a QLoRA run").first.click()
    page.wait_for_url("**/jobs/*")
    return page.url.rsplit("/", 1)[1]


@pytest.fixture(scope="module")
def quantized(browser: Browser, server: Running) -> str:
    """The QLoRA demo, launched from the page, followed to its end by the command line and on the page."""
    with signed_in(browser, server) as page:
        job = launch_from_the_page(page)
        followed = tunescope(server, "jobs", "follow", job)
        assert followed.returncode == 0, followed.stderr
        assert f"{STEPS}/{STEPS}" in followed.stdout, followed.stdout
        expect(page.get_by_role("heading", name=DEMO)).to_be_visible()
        expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible()
        expect(page.get_by_text(f"Step {STEPS} of {STEPS}")).to_be_visible()
    return job


def test_a_qlora_job_succeeds_with_an_event_for_every_step(
    server: Running, client: httpx.Client, quantized: str
) -> None:
    job = quantized
    row = finished(client, job, within=5)
    assert row["state"] == "succeeded", row["failure"]
    assert row["progress"]["step"] == STEPS and row["spec"]["precision"]["quantization"] == "nf4"
    metrics = client.get(f"/api/jobs/{job}/metrics").json()
    assert metrics["steps"] == list(range(1, STEPS + 1))
    loss = metrics["series"]["loss"]["mean"]
    assert sum(loss[-3:]) < sum(loss[:3]), loss

    artifacts = {item["name"]: item for item in client.get(f"/api/jobs/{job}/artifacts").json()}
    assert {"adapter_model.safetensors", "adapter_config.json", "spec.yaml"} <= artifacts.keys()
    load = (
        "import sys; from peft import AutoPeftModelForCausalLM as M; m = M.from_pretrained(sys.argv[1]);"
        "assert any('lora_B' in n and p.abs().sum() > 0 for n, p in m.named_parameters())"
    )
    attempt = server.data_dir / "jobs" / job / "1" / "artifacts"
    subprocess.run([sys.executable, "-c", load, str(attempt)], check=True, capture_output=True, timeout=120)


def test_the_page_tells_how_to_load_the_result(page: Page, quantized: str) -> None:
    page.goto(f"/jobs/{quantized}?tab=files")
    program = page.locator("pre")
    expect(program).to_contain_text("model = PeftModel.from_pretrained(base, folder)")
    expect(page.get_by_role("link", name="README.md")).to_be_visible()


def test_the_adapter_is_merged_later_from_the_page(page: Page, client: httpx.Client, quantized: str) -> None:
    page.goto(f"/jobs/{quantized}?tab=files")
    merge = page.get_by_role("region", name="Merged model")
    expect(merge.get_by_text("256.6 MiB of disk")).to_be_visible()
    merge.get_by_role("button", name="Merge into one model").dblclick()
    expect(merge.get_by_role("button", name="End merging")).to_be_visible()
    expect(merge.get_by_text("merging the adapter")).to_be_visible(timeout=60_000)
    assert serious_problems(page) == []
    merging = client.get("/api/jobs?task=merge").json()["items"]
    assert len(merging) == 1, "a double click is one merge"
    page.goto(f"/jobs/{merging[0]['id']}")
    page.wait_for_url(f"**/jobs/{quantized}?*tab=files*")
    expect(merge.get_by_text("The merged model is among these files")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("link", name="merged/model.safetensors")).to_be_visible()
    expect(merge.get_by_role("button")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 844})
    until(lambda: page.evaluate(SCROLLS) <= 390, within=5, what="a page that fits 390 px")
    assert client.get(f"/api/jobs/{quantized}").json()["state"] == "succeeded"


def test_the_page_accounts_for_what_was_measured(page: Page, quantized: str) -> None:
    page.goto(f"/jobs/{quantized}")
    phases = page.get_by_role("figure").filter(has_text="Peak memory by phase")
    for phase in ("forward", "loss", "backward", "optimizer"):
        expect(phases.get_by_text(phase, exact=True)).to_be_visible()
    page.get_by_role("tab", name="Memory").click()
    panel = page.get_by_role("region", name="Measured, byte by byte")
    expect(panel.get_by_role("heading", name="Step 3", exact=True)).to_be_visible()
    adapters = panel.get_by_role("row", name="Adapters")
    expect(adapters).to_contain_text("0 B (0.00 %)")
    expect(panel.get_by_role("row", name="not comparable: there is no CUDA context")).to_be_visible()
    panel.get_by_role("button", name="Step 1").click()
    expect(panel.get_by_text("the first step begins before the optimizer has states")).to_be_visible()
    assert serious_problems(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    until(lambda: page.evaluate(SCROLLS) <= 390, within=5, what="a page that fits 390 px")
    error = panel.get_by_role("columnheader", name="Error").bounding_box()
    assert error and error["x"] + error["width"] <= 390, "the error is seen without scrolling"
    page.get_by_role("link", name="Compare, or change a setting").click()
    expect(page.get_by_role("heading", level=2, name="Both need the same")).to_be_visible()
    page.goto("/accuracy")
    expect(page.get_by_text(DEMO).first).to_be_visible()
    page.get_by_role("button", name="By category").first.click()
    expect(page.get_by_role("row", name="Adapters").first).to_contain_text("0 B (0.00 %)")


def test_the_result_is_talked_to_with_the_adapter_and_without(page: Page, client: httpx.Client, quantized: str) -> None:
    page.goto(f"/jobs/{quantized}?tab=chat")
    expect(page.get_by_text("each keeps 22.5 KiB of keys and values")).to_be_visible()
    page.get_by_role("button", name="Start a chat").click()
    field = page.get_by_role("textbox", name="Message", exact=True)
    expect(field).to_be_focused()
    page.get_by_text("Settings of the answers").click()
    page.get_by_role("textbox", name="Longest answer").fill("8")
    field.fill("What is LoRA? <b>Say</b> it\nbriefly.")
    field.press("Enter")
    talk = page.get_by_role("region", name="Conversation")
    expect(talk.get_by_text("What is LoRA? <b>Say</b> it")).to_be_visible()
    expect(talk.get_by_text("cut at its longest")).to_be_visible(timeout=90_000)
    expect(field).to_be_focused()
    page.get_by_role("button", name="Ask the base model too").click()
    expect(talk.get_by_text("Base model, without the adapter")).to_be_visible()
    expect(talk.get_by_text("cut at its longest")).to_have_count(2, timeout=60_000)
    memory = page.get_by_role("region", name="Memory", exact=True)
    expect(memory.get_by_role("row", name="Adapters")).to_contain_text("MiB")
    expect(memory.get_by_text("tokens held")).to_be_visible()
    assert serious_problems(page) == []
    said = talk.get_by_role("log").inner_text()
    page.reload()
    expect(talk.get_by_text("cut at its longest")).to_have_count(2)
    assert talk.get_by_role("log").inner_text() == said
    page.set_viewport_size({"width": 390, "height": 844})
    until(lambda: page.evaluate(SCROLLS) <= 390, within=5, what="a page that fits 390 px")
    page.goto("/machines")
    expect(page.get_by_text("chat with its result")).to_be_visible()
    page.get_by_role("link", name=DEMO).first.click()
    page.wait_for_url(f"**/jobs/{quantized}?*tab=chat*")
    page.get_by_role("button", name="End the chat").click()
    expect(talk.get_by_text("It was ended at")).to_be_visible(timeout=30_000)
    assert {job["id"] for job in client.get("/api/jobs?task=chat").json()["items"]}.isdisjoint(
        job["id"] for job in client.get("/api/jobs").json()["items"]
    )
    talk.get_by_role("button", name="Start again").click()
    expect(page.get_by_role("button", name="Start a chat")).to_be_visible()


def test_less_quantization_and_more_training_need_more_memory(client: httpx.Client, quantized: str) -> None:
    steps = 4
    jobs = [submit(client, demo_spec(method, "none", steps)) for method in ("lora", "full")]
    rows = [finished(client, job) for job in jobs]
    assert [row["state"] for row in rows] == ["succeeded"] * 2, [row["failure"] for row in rows]
    least, lora, full = (peak_memory(client, job, steps) for job in (quantized, *jobs))
    assert least < lora < full
