"""``tunescope chat``: lines in, answers out, and how it ends; the server is a stand-in that says what it was told."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tunescope.cli import chat
from tunescope.cli.main import main
from tunescope.events import ChatAnswerEvent, Failure, JobEvent, StageEvent, StateEvent
from tunescope.problems import Conflict
from tunescope.sentences import say
from tunescope.states import FailureReason, JobState


class Server:
    """Answers each message with its own text backwards, in two pieces; ``breaks`` ends the chat in place of an answer."""

    def __init__(self, breaks: bool = False) -> None:
        self.breaks = breaks
        self.said: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self._sequence = 0

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def chat(self, job_id: str, context_tokens: int | None) -> dict[str, Any]:
        assert (job_id, context_tokens) == ("j", 128)
        return {"id": "c", "state": "queued"}

    def job(self, chat_id: str) -> dict[str, Any]:
        return {"id": chat_id, "state": "queued", "waiting_because": "All GPUs are in use."}

    def say(self, chat_id: str, text: str, **settings: Any) -> dict[str, Any]:
        self.said.append({"text": text, **settings})
        return {"number": len(self.said)}

    def cancel(self, chat_id: str) -> None:
        self.cancelled.append(chat_id)
        if self.breaks:
            raise Conflict(say("job_has_ended", state="failed"), say("retry_or_clone"))

    def follow(self, chat_id: str, on_lost: Callable[[str], None]) -> Iterator[JobEvent]:
        yield self._event(StageEvent, stage="loading the model")
        yield self._event(StateEvent, state=JobState.RUNNING)
        answered = 0
        while True:
            if self.breaks:
                failure = Failure.of(FailureReason.MACHINE_LOST, say("chat_worker_stopped"), say("chat_start_again"))
                yield self._event(StateEvent, state=JobState.FAILED, failure=failure)
                return
            text = self.said[answered]["text"][::-1]
            answered += 1
            half = len(text) // 2
            yield self._event(ChatAnswerEvent, number=answered, text=text[:half], tokens=1)
            yield self._event(ChatAnswerEvent, number=answered, text=text[half:], tokens=2, ended="end")

    def _event(self, kind: type[Any], **fields: Any) -> Any:
        self._sequence += 1
        return kind(job="c", attempt=1, sequence=self._sequence, at=1.0, **fields)


def talk(monkeypatch: pytest.MonkeyPatch, server: Server, lines: str, *words: str) -> int:
    monkeypatch.setattr(chat, "Client", lambda: server)
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return main(["chat", "j", "--context", "128", *words])


def test_each_line_is_answered_and_the_chat_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server()
    assert talk(monkeypatch, server, "abc\n\ndef", "--base", "--system", "brief") == 0
    told = capsys.readouterr()
    assert told.out == "cba\nfed\n" and "All GPUs are in use." in told.err
    assert [(one["text"], one["adapter"], one["system"]) for one in server.said] == [
        ("abc", False, "brief"),
        ("def", False, "brief"),
    ]
    assert server.cancelled == ["c"]


def test_json_is_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert talk(monkeypatch, Server(), "abc\n", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "chat": "c",
        "answers": [{"message": "abc", "answer": "cba", "tokens": 2, "ended": "end", "problem": None}],
    }


def test_a_chat_that_fails_ends_with_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(breaks=True)
    assert talk(monkeypatch, server, "abc\n") == 1
    assert "The worker was stopped while the chat was open." in capsys.readouterr().err and server.cancelled == ["c"]
