"""The measured ledger of real steps, counted again by hand to the byte."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worker.measured_run import run, spec_of
from tests.worker.tiny import save_rows, save_tiny
from tunescope.events import AnatomyEvent, ArtifactEvent, LedgerEvent, LogEvent
from tunescope.sentences import say
from worker import requests
from worker.outbox import Outbox, read_events
from worker.probes.reading import Unknown
from worker.tracer.follower import Event
from worker.trainer.ledger.anatomy import anatomy
from worker.trainer.ledger.outside import ON_CPU, CudaMoment, outside_cuda
from worker.trainer.ledger.snapshot import MOST_EVENTS, Snapshot

HIDDEN, INNER, LAYERS, RANK = 64, 128, 2, 8
SHAPES = [(HIDDEN, HIDDEN)] * 4 + [(INNER, HIDDEN)] * 2 + [(HIDDEN, INNER)]
"""(outputs, inputs) of the linear layers of one decoder layer of the tiny model."""
LINEARS = SHAPES * LAYERS
ROTARY = 2 * 4 * (HIDDEN // 2 // 2)
"""Two fp32 tables of frequencies, for a head of half the hidden size."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


def unquantized_bytes(tiny: Path, width: int) -> tuple[int, int]:
    """(all parameters, those outside the linear layers) of the saved model, at ``width`` bytes a number."""
    from safetensors import safe_open

    with safe_open(tiny / "model.safetensors", "pt") as file:
        everything = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    linear = sum(outputs * inputs for outputs, inputs in LINEARS)
    return width * everything, width * (everything - linear)


def adapters_bytes() -> int:
    return 4 * RANK * sum(outputs + inputs for outputs, inputs in LINEARS)


def nf4_bytes() -> tuple[int, int]:
    """(packed weights, constants): 8-bit absmax a block of 64, for 256 of those one fp32, two code tables, an offset."""
    packed = sum(outputs * inputs // 2 for outputs, inputs in LINEARS)
    blocks = [outputs * inputs // 64 for outputs, inputs in LINEARS]
    constants = sum(count + 4 * -(-count // 256) + 256 * 4 + 16 * 4 + 4 for count in blocks)
    return packed, constants


def adam_bytes(trained: int, tensors: int) -> int:
    """Two moments as wide as the parameter, and an fp32 count of steps for each."""
    return 2 * trained + 4 * tensors


def ledgers(events: list[Any]) -> list[LedgerEvent]:
    return [event for event in events if isinstance(event, LedgerEvent)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_every_category_is_right_to_the_byte(tiny: Path, tmp_path: Path, kind: str) -> None:
    spec = spec_of(
        adaptation={"method": "full" if kind == "full" else "lora"},
        precision={"quantization": "nf4" if kind == "qlora" else "none"},
    )
    events = run(tiny, save_rows(tmp_path / "rows.jsonl", 16), tmp_path / "job", spec)
    everything, outside_linears = unquantized_bytes(tiny, width=2)
    packed, constants = nf4_bytes()
    trained, tensors = (everything, 12 * LAYERS - 3 * LAYERS + 3) if kind == "full" else (adapters_bytes(), 28)
    measured = ledgers(events)
    assert [event.step for event in measured] == [1, 2, 3]
    for event in measured[1:]:
        account = event.categories
        assert account["weights"] - ROTARY == (outside_linears + packed if kind == "qlora" else everything)
        assert account.get("quantization_state", 0) == (constants if kind == "qlora" else 0)
        assert account.get("adapters", 0) == (0 if kind == "full" else trained)
        assert account["gradients"] == trained
        assert account["optimizer_states"] == adam_bytes(trained, tensors)
        assert sum(account.values()) == event.total_bytes == max(event.sites.values())
        assert event.allocator_peak_bytes is None and event.unfollowed_bytes is None
        assert {figure.source: figure.unknown_because for figure in event.outside} == {
            source: unknown.because for source, unknown in ON_CPU.items()
        }
    assert measured[0].sites["forward_end"] < measured[1].sites["forward_end"], "step 1 begins without optimizer states"
    assert measured[1].categories == measured[2].categories, "equal batches need equal memory"
    for event, shape in zip(measured, (item for item in events if isinstance(item, AnatomyEvent)), strict=True):
        assert 50 < len(shape.points) <= 600
        assert max(sum(point.bytes_by_category.values()) for point in shape.points) == event.total_bytes
        assert {point.phase for point in shape.points} == {"data", "forward", "loss", "backward", "optimizer"}


@pytest.mark.slow
def test_a_step_is_measured_when_the_page_asks(tiny: Path, tmp_path: Path) -> None:
    requests.ask(tmp_path / "job", "measure")
    requests.ask(tmp_path / "job", "snapshot")
    spec = spec_of(schedule={"max_steps": 5, "save_steps": 1000})
    events = run(tiny, save_rows(tmp_path / "rows.jsonl", 24), tmp_path / "job", spec)
    assert [event.step for event in ledgers(events)] == [1, 2, 3, 4]
    said = [event.line for event in events if isinstance(event, LogEvent)]
    assert any("snapshot" in line and "CUDA" in line for line in said), "without CUDA it says why there is none"


def test_a_wish_is_taken_once(tmp_path: Path) -> None:
    assert not requests.take(tmp_path, "measure")
    requests.ask(tmp_path, "measure")
    requests.ask(tmp_path, "measure")
    assert requests.take(tmp_path, "measure") and not requests.take(tmp_path, "measure")


def change(kind: Any, uid: int, count: int, category: Any, since_birth: bool = False) -> Event:
    return Event(kind, uid, count, category, "backward", "layer_backward", since_birth)


def test_anatomy_keeps_each_spans_height_and_knows_what_was_found_out_later() -> None:
    events = [
        change("malloc", 1, 100, "weights"),
        change("malloc", 2, 50, "activations"),
        change("malloc", 3, 30, "activations"),
        change("free", 3, 30, "activations"),
        change("retag", 2, 50, "gradients", since_birth=True),
        change("malloc", 4, 10, "workspace"),
        change("free", 2, 50, "gradients"),
    ]
    points = anatomy(events, [0.0, 0.0, 0.1, 0.2, 0.3, 5.0, 9.9], began=0.0, ended=10.0, first=1, points=4)
    assert [(point.seconds, point.bytes_by_category) for point in points] == [
        (0.1, {"weights": 100, "gradients": 50, "activations": 30}),
        (5.0, {"weights": 100, "gradients": 50, "workspace": 10}),
    ]


def test_anatomy_tells_every_phase_unless_there_are_too_many() -> None:
    def event(uid: int, phase: Any) -> Event:
        return Event("malloc", uid, 10, "activations", phase, "forward_end")

    short = [event(1, "data"), event(2, "forward"), event(3, "loss")]
    told = anatomy(short, [0.0, 0.001, 0.002], began=0.0, ended=100.0, first=0)
    assert [point.phase for point in told] == ["data", "forward", "loss"]
    many = [event(number, ("forward", "backward")[number % 2]) for number in range(1, 5000)]
    points = anatomy(many, [number / 100 for number in range(1, 5000)], began=0.0, ended=50.0, first=0)
    assert len(points) <= 600 and sum(points[-1].bytes_by_category.values()) == 49_990


def test_what_lies_outside_the_tensors_on_a_gpu() -> None:
    moment = CudaMoment(allocated_peak=70, reserved_peak=100, reserved_now=90, process=130, held=200)
    assert {item.source: item.bytes for item in outside_cuda(moment)} == {
        "fragmentation": 30,
        "runtime_context": 40,
        "other_processes": 70,
    }


def test_an_unknown_process_makes_context_and_others_unknown_too() -> None:
    hidden = Unknown(say("process_memory_hidden"))
    moment = CudaMoment(allocated_peak=70, reserved_peak=100, reserved_now=90, process=hidden, held=200)
    told = {item.source: (item.bytes, item.unknown_because) for item in outside_cuda(moment)}
    assert told["fragmentation"] == (30, None)
    assert told["runtime_context"] == told["other_processes"] == (None, hidden.because)


def test_a_snapshot_keeps_pythons_frames_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of C++ frames would be looked up while the training waits."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda.memory, "_record_memory_history", lambda **options: asked.append(options))
    monkeypatch.setattr(torch.cuda.memory, "_dump_snapshot", lambda file: Path(file).write_bytes(b"pickle"))
    snapshot = Snapshot(tmp_path / "artifacts", Outbox(tmp_path, job="j", attempt=1))
    snapshot.begin()
    snapshot.end(7)
    assert asked == [{"max_entries": MOST_EVENTS, "stacks": "python"}, {"enabled": None}]
    (told,) = [event for event in read_events(tmp_path) if isinstance(event, ArtifactEvent)]
    assert (told.name, told.bytes) == ("memory-step-7.pickle", 6)
