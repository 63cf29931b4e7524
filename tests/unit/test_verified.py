"""The figures of a trace in an estimate, for the GPU that the estimate is for."""

from dataclasses import replace
from typing import Any

from tests.worker.standin_tracer import trace as standin_trace
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEFAULT_DEVICE, DEVICES, Device
from tunescope.memory.estimate import estimate
from tunescope.memory.stack import DEFAULT, STACKS, Stack
from tunescope.memory.trace import Trace
from tunescope.memory.verified import verified
from tunescope.spec import parse_spec
from tunescope.units import MIB

MODEL = "Qwen/Qwen2.5-7B"
TRACE = Trace.model_validate(standin_trace(1))


def answer(device: Device, stack: Stack = DEFAULT) -> dict[str, Any]:
    spec = parse_spec({"model": {"id": MODEL}, "data": {"dataset": "d"}})
    return verified(estimate(spec, catalogue(MODEL), device, stack=stack).to_dict(), TRACE, device, stack)


def context(of: dict[str, Any]) -> int:
    assert of["total_bytes"] == sum(of["ledger"].values())
    return int(of["ledger"]["runtime_context"])


def test_the_context_is_the_devices_own_or_the_versions() -> None:
    assert context(answer(DEFAULT_DEVICE)) == 1205 * MIB
    measured = answer(replace(DEFAULT_DEVICE, context_bytes=500 * MIB))
    assert context(measured) == 500 * MIB
    assert not any("CUDA context" in note for note in measured["assumptions"])
    assert context(answer(DEFAULT_DEVICE, STACKS["transformers-4.48"])) == 1698 * MIB


def test_another_gpus_workspaces_take_the_place_of_the_traced_ones() -> None:
    traced, hopper = answer(DEVICES["A100-80GB"]), answer(DEVICES["H100-80GB"])
    moved = 2 * (32 * MIB - 8_519_680)
    for name in ("total_bytes", "allocated_bytes", "least_bytes"):
        assert hopper[name] - traced[name] == moved
    assert traced["allocated_bytes"] == TRACE.peak_bytes
    assert any("H100-80GB" in note for note in hopper["assumptions"])
