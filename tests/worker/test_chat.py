"""A chat with what a job has trained: the program that answers, on a tiny random Llama with an adapter that says other things."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.waiting import until
from tests.worker.measured_run import spec_of
from tests.worker.tiny import save_tiny
from tunescope.events import (
    ChatAnswerEvent,
    ChatReadyEvent,
    ChatTakenEvent,
    EventBase,
    StateEvent,
)
from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.inference import estimate_inference
from tunescope.spec import JobSpec
from tunescope.states import FailureReason, JobState
from tunescope.wire import ChatMessage
from worker.chat.__main__ import Chat, main, run
from worker.chat.advice import for_chat
from worker.chat.inbox import Inbox
from worker.death import explain_death
from worker.outbox import read_events

pytestmark = pytest.mark.slow
CONTEXT = 256
Event = TypeVar("Event", bound=EventBase)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A result as a LoRA run leaves it, whose adapter changes what is said."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("result")
    config = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear", init_lora_weights=False)
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter) * 0.3
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


class Session:
    """A chat as the worker starts it."""

    def __init__(self, root: Path, base: Path, result: Path, spec: JobSpec, idle_seconds: float, context: int) -> None:
        self.root, self.folder = root, root / "jobs" / "c" / "1"
        self.folder.mkdir(parents=True)
        self.order = self.folder / "order.json"
        chat = {"result": str(result), "context_tokens": context, "idle_seconds": idle_seconds}
        order = {
            "job": "c", "attempt": 1, "fence": 1, "spec": spec.model_dump(mode="json"), "chat": chat,
            "model": {"kind": "path", "location": str(base)},
        }  # fmt: skip
        self.order.write_text(json.dumps(order))
        self.inbox = Inbox(self.folder)

    def say(self, *messages: ChatMessage) -> None:
        for message in messages:
            self.inbox.put(message)

    def events(self, kind: type[Event]) -> list[Event]:
        return [event for event in read_events(self.folder) if isinstance(event, kind)]

    def answer(self, number: int) -> list[ChatAnswerEvent]:
        return [event for event in self.events(ChatAnswerEvent) if event.number == number]

    def text(self, number: int) -> str:
        return "".join(event.text for event in self.answer(number))


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path, adapter: Path) -> Callable[..., Session]:
    monkeypatch.setenv("TUNESCOPE_DATA_DIR", str(tmp_path))

    def make(
        sections: dict[str, Any] | None = None, result: Path = adapter, idle: float = 0.2, context: int = CONTEXT
    ) -> Session:
        return Session(tmp_path, tiny, result, spec_of(**(sections or {})), idle, context)

    return make


def asked(number: int, text: str = "What is 4 bit?", **options: Any) -> ChatMessage:
    return ChatMessage(number=number, text=text, **({"max_new_tokens": 12} | options))


def ended(events: Sequence[ChatAnswerEvent]) -> ChatAnswerEvent:
    assert [event.ended for event in events[:-1]] == [None] * (len(events) - 1)
    return events[-1]


def test_a_conversation_is_answered_with_the_adapter_and_without(session: Callable[..., Session], tiny: Path) -> None:
    chat = session()
    chat.say(
        asked(1),
        asked(2, "And 8 bit?"),
        asked(3, "And 8 bit?", again_of=2, adapter=False),
        asked(4, "And 16 bit?", temperature=1.0),
        asked(5, "x" * 300),
        asked(6, "Still there?", system="Be brief."),
    )
    assert run(Chat(chat.order)) == 0
    states = [event.state for event in chat.events(StateEvent)]
    assert states == [JobState.RUNNING, JobState.SUCCEEDED], "nobody says anything any more"
    ready = chat.events(ChatReadyEvent)[0]
    spec = spec_of(precision={"quantization": "none", "dtype": ready.dtype})
    predicted = estimate_inference(
        spec, architecture_from_config(json.loads((tiny / "config.json").read_text())), CONTEXT
    )
    assert ready.predicted == predicted.ledger and ready.kv_bytes_per_token == predicted.kv_bytes_per_token
    for category in ("weights", "adapters"):
        assert 0 <= predicted.ledger[category] - ready.held[category] < 0.03 * ready.held[category], category
    assert ready.adapter and [figure.source for figure in ready.memory if figure.bytes] == ["host.rss"]
    prompts = [event.prompt_tokens or 0 for event in chat.events(ChatTakenEvent)]
    assert prompts[0] < prompts[1] == prompts[2] < prompts[3], "what was said before is asked with"
    for number in (1, 2, 3, 4):
        last = ended(chat.answer(number))
        assert last.ended in ("end", "length") and 0 < last.tokens <= 12 and last.memory
        assert last.kv_tokens == prompts[number - 1] + last.tokens - 1, "the newest token's are not made yet"
        assert last.kv_bytes == last.kv_tokens * predicted.kv_bytes_per_token
    assert chat.text(2) != chat.text(3), "the adapter decides what is said"
    refused = ended(chat.answer(5))
    assert refused.ended == "problem" and refused.problem and refused.problem.kind == "chat_too_long"
    assert ended(chat.answer(6)).ended in ("end", "length", "context"), "nothing else is lost"


@pytest.mark.parametrize("sections", [{"precision": {"quantization": "nf4"}}, {"adaptation": {"method": "full"}}])
def test_it_is_loaded_as_it_was_trained(
    session: Callable[..., Session], tiny: Path, adapter: Path, sections: dict[str, Any]
) -> None:
    full = "adaptation" in sections
    chat = session(sections, tiny if full else adapter)
    chat.say(asked(1))
    assert run(Chat(chat.order)) == 0
    held = chat.events(ChatReadyEvent)[0].held
    assert ("quantization_state" in held, "adapters" in held) == ((False, False) if full else (True, True))
    assert ended(chat.answer(1)).ended in ("end", "length")


def test_a_result_that_is_not_here_is_told(
    session: Callable[..., Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = session(result=tmp_path / "nothing")
    monkeypatch.setattr(sys, "argv", ["worker.chat", str(chat.order)])
    assert main() == 1
    failure = chat.events(StateEvent)[-1].failure
    assert failure and failure.reason is FailureReason.MACHINE_LOST and "TUNESCOPE_DATA_DIR" in failure.advice


def test_a_chat_that_was_killed_is_told_as_one() -> None:
    for lines in (["Loading weights"], []):
        failure = for_chat(explain_death(-signal.SIGKILL, 0, 0, lines, stage="answering"))
        assert failure.detail.startswith("The chat's process was killed (SIGKILL) while answering.")
        assert "new chat" in failure.advice and failure.detail_sentence
    failure = for_chat(explain_death(-signal.SIGKILL, 0, 1, []))
    assert failure.reason is FailureReason.OUT_OF_MEMORY and "shorter conversation" in failure.advice


def test_an_answer_is_stopped_and_the_chat_ended(session: Callable[..., Session], tmp_path: Path) -> None:
    chat = session(idle=60, context=100_000)
    env = {**os.environ, "TUNESCOPE_DATA_DIR": str(tmp_path), "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen([sys.executable, "-m", "worker.chat", str(chat.order)], env=env)
    try:
        chat.say(asked(1, max_new_tokens=4000, temperature=2.0))
        until(lambda: len(chat.answer(1)) > 1, within=90, what="the first pieces of an answer")
        chat.inbox.stop(1)
        until(lambda: chat.answer(1)[-1].ended, within=10, what="its end")
        assert chat.answer(1)[-1].ended == "stopped" and child.poll() is None, "the chat goes on"
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 3 and time.monotonic() - began < 5
        assert chat.events(StateEvent)[-1].state is JobState.CANCELLED
    finally:
        child.kill()
