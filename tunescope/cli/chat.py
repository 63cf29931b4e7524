"""``tunescope chat``: each line of the input is a message, each answer is printed as it comes."""

import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tunescope.cli.follow import stage_text, told_lost
from tunescope.cli.output import errors, print_json
from tunescope.client import Client
from tunescope.events import ChatAnswerEvent, JobEvent, StageEvent, StateEvent
from tunescope.problems import Conflict
from tunescope.states import TERMINAL, JobState

REASON_SECONDS = 3.0
"""When it is still queued after this time, it is told what it waits for."""


class Ended(Exception):
    """The chat is over; nothing more can be said."""


def chat(args: Namespace) -> int:
    """Exit code 0 once the input has ended, 1 where the chat did."""
    with Client() as client:
        begun = client.chat(args.job, args.context)
        session = Session(client, begun["id"], args)
        try:
            session.wait()
            for line in lines(args.json):
                session.ask(line)
        except Ended:
            return 1
        finally:
            with suppress(Conflict):  # it has ended by itself
                client.cancel(begun["id"])
            if args.json:
                print_json({"chat": begun["id"], "answers": session.answers})
    return 0


def lines(silent: bool) -> Iterator[str]:
    """Messages: lines that say something, up to the end of the input."""
    while True:
        if sys.stdin.isatty() and not silent:
            errors.print("> ", end="")
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")


class Session:
    """One chat and its events, which are read as far as the answer at hand goes."""

    def __init__(self, client: Client, chat_id: str, args: Namespace) -> None:
        self._client, self._id, self._args = client, chat_id, args
        self._events = client.follow(chat_id, on_lost=told_lost)
        self._begun = time.monotonic()
        self.answers: list[dict[str, Any]] = []

    def wait(self) -> None:
        """Until the model is loaded. Raises Ended."""
        self._tell_reason()
        for event in self._heard():
            if isinstance(event, StageEvent):
                errors.print(stage_text(event), style="dim")
            if isinstance(event, StateEvent) and event.state is JobState.RUNNING:
                return

    def ask(self, text: str) -> None:
        """Print the answer to a message. Raises Ended."""
        args = self._args
        settings = {
            "adapter": not args.base,
            "system": args.system,
            "temperature": args.temperature,
            "max_new_tokens": args.max_new_tokens,
        }
        number = self._client.say(self._id, text, **settings)["number"]
        said = ""
        for event in self._heard():
            if not isinstance(event, ChatAnswerEvent) or event.number != number:
                continue
            said += event.text
            if not self._args.json:
                print(event.text, end="", flush=True)
            if event.ended:
                break
        else:
            raise Ended
        if not self._args.json:
            print()
        if event.problem:
            errors.print(event.problem.text)
        told = event.problem.text if event.problem else None
        self.answers.append(
            {"message": text, "answer": said, "tokens": event.tokens, "ended": event.ended, "problem": told}
        )

    def _heard(self) -> Iterator[JobEvent]:
        """Raises Ended at the end of the chat, with why."""
        for event in self._events:
            if isinstance(event, StateEvent) and event.state in TERMINAL:
                if event.failure:
                    errors.print(f"{event.failure.detail}\n{event.failure.advice}")
                else:
                    errors.print("The chat has ended.")
                raise Ended
            yield event
        raise Ended

    def _tell_reason(self) -> None:
        """Why it waits, if it does: no event tells it."""
        deadline = self._begun + REASON_SECONDS
        while time.monotonic() < deadline:
            job = self._client.job(self._id)
            if job["state"] != JobState.QUEUED:
                return
            if job["waiting_because"]:
                errors.print(job["waiting_because"], style="dim")
                return
            time.sleep(0.2)
