"""A CPU that would multiply 16-bit numbers one by one computes in float32 instead, a GPU does it slowly; both say so."""

from collections.abc import Callable

import pytest
import torch

from tests.worker.measured_run import spec_of
from tunescope.spec import JobSpec
from worker.trainer.arithmetic import at_speed

Machine = Callable[[bool, bool], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What torch says of the machine: whether it has a GPU, and whether that, or else its CPU, has 16-bit arithmetic."""

    def say(gpu: bool, fast: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast or including_emulation)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
        told = {"avx512_f": True, "avx512_bf16": fast}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told)

    return say


def quantized() -> JobSpec:
    return spec_of(precision={"quantization": "nf4", "dtype": "bfloat16", "adapter_dtype": "bfloat16"})


def test_a_slow_cpu_computes_in_float32_and_nothing_else_changes(machine: Machine) -> None:
    machine(False, False)
    spec = quantized()
    run, note = at_speed(spec)
    assert (run.precision.dtype, run.precision.adapter_dtype) == ("float32", "float32")
    assert note and "float32" in note.text
    changed = {"dtype": spec.precision.dtype, "adapter_dtype": spec.precision.adapter_dtype}
    assert run.model_copy(update={"precision": run.precision.model_copy(update=changed)}) == spec


@pytest.mark.parametrize(("gpu", "fast"), [(True, True), (False, True)])
def test_machines_with_16_bit_arithmetic_run_the_spec_as_it_is(machine: Machine, gpu: bool, fast: bool) -> None:
    machine(gpu, fast)
    assert at_speed(quantized()) == (quantized(), None)


def test_a_gpu_that_emulates_bfloat16_runs_the_spec_as_it_was_predicted_and_says_that_it_is_slow(
    machine: Machine,
) -> None:
    machine(True, False)
    run, note = at_speed(quantized())
    assert run == quantized()
    assert note and "Tesla T4" in note.text and "float16" in note.text
    halves = spec_of(precision={"quantization": "nf4", "dtype": "float16"})
    assert at_speed(halves) == (halves, None)


@pytest.mark.parametrize("gpu", [True, False])
def test_float32_needs_no_word(machine: Machine, gpu: bool) -> None:
    machine(gpu, False)
    spec = spec_of(precision={"quantization": "none", "dtype": "float32"})
    assert at_speed(spec) == (spec, None)
