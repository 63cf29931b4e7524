"""What a step tells of its memory: phases, peaks, tokens, and what measuring cost."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worker.measured_run import run, spec_of
from tests.worker.tiny import save_rows, save_tiny
from tunescope.events import AllocatorFigures, CheckpointEvent, EvaluationEvent, MemoryFigure, StepEvent
from tunescope.sentences import say
from worker.probes.nvml_memory import Memory
from worker.probes.reading import Unknown
from worker.trainer.meter.allocator import AllocatorPeaks
from worker.trainer.meter.meter import Meter, StepFigures, row_lengths
from worker.trainer.meter.phases import TOO_SHORT, Phases
from worker.trainer.meter.sampler import FASTEST_HZ, SHARE, Sampler, rate_hz
from worker.trainer.meter.sources import KernelPeak, Source, host_source
from worker.trainer.meter.stopwatch import HostStopwatch
from worker.trainer.watched import facts_of

STEP_PHASES = ["data", "forward", "loss", "backward", "optimizer"]
MIB = 2**20


class Clock:
    """A stopwatch that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def mark(self) -> float:
        return self.now

    def settle(self, mark: float) -> None:
        assert mark == self.now

    def seconds(self, earlier: float, later: float) -> float:
        return later - earlier


def test_stretches_of_a_phase_add_up_and_a_sample_belongs_to_its_phase() -> None:
    clock = Clock()
    phases = Phases(clock)
    phases.begin()
    for phase, seconds, value in (("forward", 1.0, 100), ("backward", 2.0, 300), ("forward", 4.0, 200)):
        phases.enter(phase)
        phases.heard("host.rss", value)
        clock.now += seconds
    told = {item.phase: item for item in phases.told(["host.rss"])}
    assert [(name, told[name].seconds) for name in told] == [("data", 0.0), ("forward", 5.0), ("backward", 2.0)]
    assert (told["forward"].peak_bytes, told["forward"].mean_bytes) == (200, 150)
    assert told["data"].peak_bytes is None and told["data"].unknown_sentence == TOO_SHORT
    assert phases.peak("host.rss") == 300


def test_an_unknown_figure_keeps_its_reason() -> None:
    phases = Phases(Clock())
    phases.begin()
    phases.heard("nvml.device", Unknown(say("not_told_by_gpu")))
    (told,) = phases.told(["nvml.device"])
    assert told.peak_bytes is None and told.unknown_because == "this GPU does not tell it"


def test_the_sampling_rate_follows_from_its_cost() -> None:
    assert rate_hz(1e-6) == FASTEST_HZ
    assert rate_hz(200e-6) * 200e-6 == pytest.approx(SHARE)
    assert rate_hz(0.05) * 0.05 <= 0.05


def test_an_expensive_source_is_sampled_less_often() -> None:
    def busy() -> int:
        end = time.thread_time() + 0.004
        while time.thread_time() < end:
            pass
        return 1

    heard: list[int] = []
    sampler = Sampler([Source("busy", busy)], lambda _name, value: heard.append(value))  # pyright: ignore[reportArgumentType]
    sampler.start()
    time.sleep(1.0)
    sampler.close()
    assert len(heard) <= 4 and sampler.seconds < 0.03


def test_a_peak_between_two_looks_is_seen() -> None:
    kernel = KernelPeak()
    if not kernel.works:
        pytest.skip("this kernel does not keep a process's peak")
    before = host_source().read()
    kernel.take()
    filled = bytearray(64 * MIB)
    filled[:] = b"x" * len(filled)
    del filled
    peak = kernel.take()
    assert isinstance(before, int) and peak is not None and peak >= before + 60 * MIB
    assert (kernel.take() or 0) < peak, "the peak begins anew"


def test_a_mark_reads_the_allocators_counters_once_and_starts_its_peaks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [(70, 100), (40, 120)]
    asked: list[str] = []

    def counted(_device: int) -> dict[str, Any]:
        peak, reserved = said[asked.count("read")]
        asked.append("read")
        return {
            "allocated_bytes": {"all": {"peak": peak}},
            "reserved_bytes": {"all": {"peak": reserved}},
        }

    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", counted)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _device: asked.append("reset"))
    peaks = AllocatorPeaks()
    peaks.begin()
    assert [peaks.take(), peaks.take()] == [70, 40]
    assert asked == ["reset", "read", "reset", "read", "reset"]
    assert (peaks.allocated, peaks.reserved) == (70, 120)


def test_on_a_gpu_peaks_of_phases_are_the_allocators_and_means_those_of_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = {"current": 100, "peak": 900}
    nested = {"allocated_bytes": {"all": counted}, "reserved_bytes": {"all": {"peak": 1000}}}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", lambda _device: nested)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda _device: {"reserved_bytes.all.current": 1000})
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _device: None)
    monkeypatch.setattr("worker.trainer.meter.meter.CudaStopwatch", HostStopwatch)
    monkeypatch.setattr("worker.trainer.meter.meter.sources", lambda: [host_source()])
    meter = Meter()
    try:
        meter.begin()
        meter.enter("forward")
        time.sleep(0.4)
        counted["current"] = 500  # only just before the phase ends
        figures = meter.end()
    finally:
        meter.close()
    forward = next(item for item in figures.phases if (item.phase, item.source) == ("forward", "torch.allocated"))
    assert forward.peak_bytes == 900 and forward.mean_bytes is not None and 100 <= forward.mean_bytes < 200
    assert figures.of("torch.reserved").peak_bytes == 1000


def test_rows_packed_one_after_another_are_counted_when_the_step_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before: where rows begin is known only when the GPU has come so far."""
    meter = Meter()
    try:
        with monkeypatch.context() as patch:
            patch.setattr("worker.trainer.meter.meter.row_lengths", None)
            meter.begin()
            meter.add_batch({"position_ids": torch.tensor([[0, 1, 2, 0, 1, 0]])})
            meter.add_batch({"position_ids": torch.tensor([[0, 1, 2, 3]])})
            meter.add_batch({"attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])})
        figures = meter.end()
    finally:
        meter.close()
    assert (figures.tokens, figures.longest_tokens) == (6 + 4 + 4, 4)
    assert row_lengths(torch.tensor([True, False, False, True, False, True])) == [3, 2, 1]


def test_waiting_for_the_gpu_at_a_steps_end_is_no_cost_of_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host only queues work: on a GPU most of a step passes there, and would be taken for overhead."""

    class Queue(Clock):
        done = False

        def settle(self, mark: float) -> None:
            if not self.done:
                time.sleep(0.3)
            self.done = True

    meter = Meter()
    monkeypatch.setattr(meter, "_phases", Phases(Queue()))
    try:
        meter.begin()
        figures = meter.end()
    finally:
        meter.close()
    assert figures.seconds >= 0.3 and figures.meter_seconds < 0.1


def test_the_drivers_reserve_is_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Memory(total=1000, used=300, free=700, reserved=60)
    monkeypatch.setattr("worker.trainer.watched.device_now", lambda: device)
    memory = [MemoryFigure(source="nvml.process", bytes=200)]
    facts = facts_of(1, StepFigures(memory=memory, allocator=AllocatorFigures.model_construct(retries=0)))
    assert (facts.others, facts.device_used, facts.device_total) == (40, 300, 1000)
    assert replace(device, reserved=Unknown(say("reserve_not_told"))).held == 300, "it is not told apart"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
def test_each_step_tells_its_phases_and_its_longest_row(tiny: Path, tmp_path: Path, fused: bool) -> None:
    spec = spec_of(
        data={"dataset": "rows", "max_length": 200, "eval_fraction": 0.2, "assistant_only_loss": False},
        memory_savers={"fused_loss": fused},
        schedule={"num_train_epochs": 1, "save_steps": 2},
    )
    events = run(tiny, save_rows(tmp_path / "rows.jsonl", 15, longer=90), tmp_path / "job", spec)
    steps = [event for event in events if isinstance(event, StepEvent)]
    for step in steps:
        assert [item.phase for item in step.phases] == STEP_PHASES
        assert sum(item.seconds for item in step.phases) == pytest.approx(step.step_seconds, rel=0.1)
        assert all(item.peak_bytes and item.mean_bytes for item in step.phases)
        assert step.memory[0].peak_bytes == max(item.peak_bytes or 0 for item in step.phases)
        assert step.meter_seconds is not None and 0 < step.meter_seconds < step.step_seconds
        assert step.longest_tokens and step.tokens and step.allocator is None
    lengths = sorted({step.longest_tokens or 0 for step in steps})
    assert lengths[-1] > lengths[0] + 60, "one step held the long row"
    evaluation = next(event for event in events if isinstance(event, EvaluationEvent))
    checkpoint = next(event for event in events if isinstance(event, CheckpointEvent))
    assert [item.phase for item in evaluation.memory] == ["evaluation"] and evaluation.memory[0].peak_bytes
    assert [item.phase for item in checkpoint.memory] == ["checkpoint"] and checkpoint.memory[0].seconds > 0
