"""The real tracer behind the worker's desk and behind the command line, on small models."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until
from tests.worker.parts import Parts
from tunescope import wire
from tunescope.cli.main import main
from tunescope.settings import WorkerSettings
from tunescope.spec import JobSpec, parse_spec
from tunescope.wire import TraceAnswer, TraceRequest
from worker.tracedesk import TraceDesk

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "tie_word_embeddings": True,
}


def spec(**sections: Any) -> JobSpec:
    base = {
        "model": {"id": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        "data": {"dataset": "d", "max_length": 64},
        "batch": {"gradient_accumulation_steps": 1},
    }
    return parse_spec({**base, **sections})


@pytest.fixture
def desk(parts: Parts) -> Iterator[TraceDesk]:
    settings = WorkerSettings(data_dir=parts.data_dir, machine="m1", trace_seconds=60)
    desk = TraceDesk(settings, parts.client)
    desk.start()
    yield desk
    desk.stop()


def answer(parts: Parts, key: str, asked: JobSpec, config: dict[str, Any]) -> TraceAnswer:
    request = TraceRequest(key=key, spec=asked, config=config)
    parts.client.rpush(wire.trace_requests("m1"), request.model_dump_json())
    value: Any = until(lambda: parts.client.lpop(wire.TRACE_ANSWERS), within=240, what="an answer")
    return TraceAnswer.model_validate_json(value)


def test_the_warm_tracer_answers_one_spec_after_another(parts: Parts, desk: TraceDesk) -> None:
    first = answer(parts, "lora", spec(), SMALL).trace
    assert first is not None
    assert sum(first.ledger.values()) == first.peak_bytes and 0 < len(first.timeline) <= 600
    assert first.peak_bytes <= first.replay.smallest_budget_bytes <= first.replay.reserved_peak_bytes
    assert first.versions["torch"] and {point.phase for point in first.timeline} >= {"forward", "backward", "optimizer"}
    pid = desk.pid
    refused = answer(parts, "unknown", spec(), {**SMALL, "model_type": "no_such_family"})
    assert refused.trace is None and "no_such_family" in (refused.reason or "")
    longer = answer(parts, "longer", spec(data={"dataset": "d", "max_length": 256}), SMALL).trace
    assert longer is not None and longer.peak_bytes > first.peak_bytes
    assert desk.pid == pid, "an untraceable spec must not cost the warm process"


def test_the_command_traces_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "spec.json"
    file.write_text(spec().model_dump_json())
    assert main(["estimate", str(file), "--json"]) == 0
    formula = json.loads(capsys.readouterr().out)
    assert main(["estimate", str(file), "--trace", "--json"]) == 0
    exact = json.loads(capsys.readouterr().out)
    assert set(exact) >= set(formula) and exact["tier"] == "trace"
    assert exact["allocated_bytes"] == exact["trace"]["peak_bytes"]
    assert exact["allocated_bytes"] == pytest.approx(formula["allocated_bytes"], rel=0.01)
