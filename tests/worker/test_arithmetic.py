"""A CPU that would multiply 16-bit numbers one by one computes in float32 instead, and says so."""

from collections.abc import Callable

import pytest
import torch

from tests.worker.measured_run import spec_of
from tunescope.spec import JobSpec
from worker.trainer.arithmetic import at_speed

Machine = Callable[[bool, bool], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What torch says of the machine: whether it has a GPU, and whether its CPU has 16-bit arithmetic."""

    def say(gpu: bool, fast: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: fast)

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


@pytest.mark.parametrize(("gpu", "fast"), [(True, False), (False, True)])
def test_machines_with_16_bit_arithmetic_run_the_spec_as_it_is(machine: Machine, gpu: bool, fast: bool) -> None:
    machine(gpu, fast)
    assert at_speed(quantized()) == (quantized(), None)


def test_float32_needs_no_word(machine: Machine) -> None:
    machine(False, False)
    spec = spec_of(precision={"quantization": "none", "dtype": "float32"})
    assert at_speed(spec) == (spec, None)
