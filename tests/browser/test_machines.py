"""The machines page over a machine with simulated GPUs, in Chromium."""

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD
from tests.browser.test_pages import serious_problems
from tests.support.running import Running, running_server
from tests.worker.simulated import SimulatedDriver, build_library, fail, gpu, lost, mig, process, xid
from tunescope.units import GIB

pytestmark = pytest.mark.slow
LINES = [
    gpu(0, 24 * GIB, reserved=GIB // 2, util=97, temp=81, power=298000, throttle=0x4),
    gpu(1, 24 * GIB, reserved=GIB // 2, ecc_volatile=2, ecc_aggregate=7),
    gpu(2, 80 * GIB, name="Simulated 80GB", mig_on=True),
    mig(2, 0, 40 * GIB),
    gpu(3, 24 * GIB),
    process("GPU-0", 4_000_001, 9 * GIB, foreign=True),
    process("GPU-0", os.getpid(), 3 * GIB),
    process("GPU-1", 4_000_002, None, foreign=True),
    fail("nvmlDeviceGetPowerUsage", 3, 1),
    fail("nvmlDeviceGetEnforcedPowerLimit", 3, 1),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> SimulatedDriver:
    folder = tmp_path_factory.mktemp("driver")
    driver = SimulatedDriver(build_library(folder), folder / "scenario")
    driver.write(*LINES)
    return driver


@pytest.fixture(scope="module")
def gpu_server(driver: SimulatedDriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in driver.environment.items():
            patch.setenv(name, value)
        with running_server(tmp_path_factory.mktemp("gpus")) as running:
            with running.client() as client:
                assert client.post(
                    "/api/users", json={"username": "ada", "password": PASSWORD, "role": "admin"}
                ).is_success
            yield running


@pytest.fixture
def machines(browser: Browser, gpu_server: Running) -> Iterator[Page]:
    context = browser.new_context(base_url=gpu_server.url, viewport={"width": 1440, "height": 900}, locale="en-US")
    context.request.post(
        "/api/session", data={"username": "ada", "password": PASSWORD}, headers={"X-Tunescope-CSRF": "1"}
    )
    page = context.new_page()
    page.goto("/machines")
    yield page
    context.close()


def test_gpus_tell_who_holds_what_and_what_is_wrong(machines: Page, driver: SimulatedDriver) -> None:
    first = machines.get_by_role("article", name="GPU 0 Simulated 24GB")
    expect(first).to_contain_text("12.5 GiB of 24.0 GiB")
    expect(first).to_contain_text("Process 4000001, not ours")
    expect(first).to_contain_text(f"process {os.getpid()})")
    expect(first).to_contain_text("Driver's reserve")
    expect(first).to_contain_text("298 / 300 W")
    expect(first).to_contain_text("Slowed: the power limit is reached")
    second = machines.get_by_role("article", name="GPU 1 Simulated 24GB")
    expect(second).to_contain_text("2 since the driver was loaded, 7 ever")
    expect(second.get_by_role("listitem").filter(has_text="Process 4000002, not ours")).to_contain_text("not told")
    expect(second).to_contain_text("Unknown: Power, Power limit – this GPU does not tell it")
    expect(machines.get_by_role("article", name="GPU 2 Simulated 80GB")).to_contain_text("Divided by MIG")
    expect(machines.get_by_role("article", name="GPU 2 Simulated MIG 1g.12gb")).to_contain_text("of 40.0 GiB")
    driver.write(*LINES, lost(3), xid(1, 48))
    third = machines.get_by_role("article", name="GPU 3 Simulated 24GB")
    expect(third).to_contain_text("fallen off the bus", timeout=15_000)
    expect(second).to_contain_text("Xid 48", timeout=15_000)
    expect(first.get_by_role("img", name="Memory in use over the last minutes")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_machines_with_gpus_are_readable_by_all(machines: Page, scheme: str) -> None:
    machines.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    expect(machines.get_by_role("article").first).to_be_visible()
    assert serious_problems(machines) == []
    machines.set_viewport_size({"width": 390, "height": 844})
    machines.goto("/machines")
    expect(machines.get_by_role("article").first).to_be_visible()
    assert machines.evaluate("document.documentElement.scrollWidth") <= 390


def test_reasons_are_told_in_chinese(machines: Page, driver: SimulatedDriver) -> None:
    driver.write(*LINES, lost(3))
    machines.evaluate("localStorage.setItem('i18nextLng', 'zh-CN')")
    machines.reload()
    expect(machines.get_by_text("未知：功耗、功耗上限 – 此 GPU 不提供该数据")).to_be_visible()
    expect(machines.get_by_role("alert").get_by_text("GPU 已从总线脱落，需要重启机器")).to_be_visible(timeout=15_000)
    machines.goto("/new")
    expect(machines.get_by_text("GPU 已从总线脱落，需要重启机器")).to_be_visible()


def test_the_form_holds_the_estimate_against_each_gpu(machines: Page, driver: SimulatedDriver) -> None:
    driver.write(*LINES[:4], lost(3))
    machines.goto("/new")
    panel = machines.get_by_role("region", name="VRAM at the peak")
    expect(panel.get_by_text("The queue keeps")).to_be_visible()
    # The estimate is held against this server's largest GPU, until another is chosen.
    chosen = panel.get_by_role("textbox", name="GPU to compare with")
    expect(chosen).to_have_value("Simulated MIG 1g.12gb")
    expect(panel.get_by_text(re.compile("on one Simulated MIG 1g.12gb"))).to_be_visible()
    chosen.click()
    expect(machines.get_by_role("group", name="This server's GPUs").get_by_role("option")).to_have_count(2)
    machines.get_by_role("option", name="Simulated 24GB").click()
    expect(chosen).to_have_value("Simulated 24GB")
    # Of the divided GPU its instance is shown, in its place.
    expect(panel.get_by_role("img", name=re.compile("^Share of Simulated"))).to_have_count(3)
    expect(panel.get_by_text("Fits now")).to_have_count(3)
    for name in ("0: Simulated 24GB", "1: Simulated 24GB"):  # two of a kind are told apart by the driver's number
        expect(panel.get_by_text(re.compile(rf" · {name}$"))).to_be_visible()
    expect(panel.get_by_text("Cannot be used")).to_have_count(1)
