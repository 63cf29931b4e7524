"""``tunescope gpus``: the same as the machines page, in a terminal."""

import json
from typing import Any

import pytest

from tunescope.cli import gpus as command
from tunescope.cli.main import main
from tunescope.units import GIB
from tunescope.wire import NO_GPU_DRIVER, GpuProcess, GpuReport, GpuXid, MachineReport

JOB = {"id": "j1", "name": "first run", "owner": "mei", "gpus": ["GPU-0"], "state": "running"}


def machine(*gpus: GpuReport, jobs: list[dict[str, Any]] | None = None, because: str | None = None) -> dict[str, Any]:
    report = MachineReport(
        name="m1",
        at=0,
        gpus=list(gpus),
        gpus_unknown_because=because,
        host_total_bytes=64 * GIB,
        host_available_bytes=60 * GIB,
        cpu_count=8,
    )
    return report.model_dump(mode="json") | {"jobs": jobs or []}


WHOLE = GpuReport(
    uuid="GPU-0",
    index=0,
    name="A GPU",
    total_bytes=24 * GIB,
    used_bytes=10 * GIB,
    free_bytes=14 * GIB,
    utilization_percent=87,
    temperature_celsius=71,
    throttling=["power_limit"],
    xids=[GpuXid(code=48, at=0, meaning="double bit memory error (ECC)")],
    processes=[
        GpuProcess(pid=7, name="python", user="mei", used_bytes=8 * GIB, job="j1"),
        GpuProcess(pid=8, used_bytes=None),
    ],
    unknown={"power_watts": "this GPU does not tell it"},
)
LOST = GpuReport(uuid="GPU-1", index=1, name="A GPU", unusable_because="the GPU has fallen off the bus")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the server answers."""
    answer: list[dict[str, Any]] = []
    monkeypatch.setattr(command.Client, "machines", lambda _self: answer)
    monkeypatch.setattr(command.console, "width", 160)
    return answer


def test_gpus_are_told_with_who_holds_them(server: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    server.append(machine(WHOLE, LOST, jobs=[JOB]))
    assert main(["gpus"]) == 0
    told = capsys.readouterr().out
    for words in (
        "m1: 8 CPUs, 4.0 GiB of 64.0 GiB host memory in use",
        "first run (mei)",
        "job first run (process 7) holds 8.0 GiB",
        "a process of somebody (process 8) holds unknown",
        "power limit reached",
        "Xid 48: double bit memory error",
        "unknown: power_watts (this GPU does not tell it)",
        "GPU 1: no job can run on it: the GPU has fallen off the bus",
    ):
        assert words in told


def test_machine_without_gpus_and_no_machine(server: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus"]) == 0
    assert "No worker is connected" in capsys.readouterr().out
    server.append(machine(because=NO_GPU_DRIVER, jobs=[JOB | {"gpus": []}]))
    assert main(["gpus"]) == 0
    told = capsys.readouterr().out
    assert NO_GPU_DRIVER in told and "first run (mei, j1) trains on the CPU" in told


def test_json_is_one_document(server: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    server.append(machine(WHOLE, LOST, jobs=[JOB]))
    assert main(["gpus", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == server
