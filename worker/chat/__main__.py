"""``python -m worker.chat ORDER``: a chat with what a job has trained. Load, wait for messages, answer them, leave."""

import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tunescope.events import ChatReadyEvent, Failure, StateEvent
from tunescope.sentences import say
from tunescope.states import FailureReason, JobState
from tunescope.wire import ChatOrder
from worker.attempt import SUCCEEDED, AttemptUnderWay, left
from worker.chat.advice import for_chat
from worker.chat.inbox import Inbox
from worker.hub.refusal import DownloadStopped
from worker.libraries import loading
from worker.stop import StopSwitch
from worker.trainer.quiet import without_notes_to_programmers

if TYPE_CHECKING:
    from worker.chat.talk import Talk

LOOK_SECONDS = 0.05
WAITING = "waiting for a message"
ANSWERING = "answering"


class Chat(AttemptUnderWay):
    """A chat under way."""

    def __init__(self, order_file: Path) -> None:
        self.order = ChatOrder.model_validate_json(order_file.read_text())
        super().__init__(order_file, self.order)
        self.inbox = Inbox(self.folder)


def run(chat: Chat) -> int:
    chat.enter("loading libraries")
    with loading():
        from worker.chat import voice
        from worker.chat.talk import Talk
        from worker.trainer import arithmetic, device, kernels, model
        from worker.trainer.meter.meter import Meter

    order, stop = chat.order, StopSwitch()
    device.refuse_without_gpu(order.gpus)
    kernels.refuse_without_kernel(order.spec)
    spec, note = arithmetic.at_speed(order.spec)
    result = chat.settings.data_dir / order.chat.result
    base = result
    if voice.adapter_in(result):
        chat.enter("preparing the demo model" if order.model.kind == "demo" else "fetching the model")
        try:
            base = model.locate(order.model, chat.settings.models_dir(), chat.download, lambda: stop.pressed)
        except DownloadStopped:
            return leave(chat, stop)
    chat.enter("loading the model")
    speaker = voice.load_voice(base, result, spec, order.chat.context_tokens)
    meter = Meter()
    try:
        meter.begin("load")
        notes = [each for each in (note, None if speaker.has_template else say("chat_no_template")) if each]
        chat.outbox.emit(
            ChatReadyEvent,
            device=device.device_name(),
            context_tokens=speaker.context_tokens,
            parameters=speaker.parameters,
            adapter=speaker.has_adapter,
            held=speaker.held(),
            dtype=spec.precision.dtype,
            **speaker.predicted(spec),
            memory=meter.end().memory,
            notes=notes,
        )
        chat.outbox.emit(StateEvent, state=JobState.RUNNING)
        return listen(chat, stop, Talk(speaker, meter, chat.outbox))
    finally:
        meter.close()


def listen(chat: Chat, stop: StopSwitch, talk: "Talk") -> int:
    """Answer one message after the other until somebody ends the chat, or nobody says anything for long enough."""
    number, heard_at = 1, time.monotonic()
    chat.begin(WAITING)
    while not stop.pressed:
        message = chat.inbox.take(number)
        if message is None:
            if time.monotonic() - heard_at >= chat.order.chat.idle_seconds:
                chat.outbox.emit(StateEvent, state=JobState.SUCCEEDED)
                return SUCCEEDED
            time.sleep(LOOK_SECONDS)
            continue
        chat.begin(ANSWERING)
        talk.answer(message, lambda number=number: stop.pressed or chat.inbox.stopped(number))
        chat.begin(WAITING)
        number, heard_at = number + 1, time.monotonic()
    return leave(chat, stop)


def leave(chat: Chat, stop: StopSwitch) -> int:
    """A chat does not go on elsewhere: what was loaded and said is here."""
    if stop.cancelled:
        return left(chat, cancelled=True)
    return chat.fail(Failure.of(FailureReason.MACHINE_LOST, say("chat_worker_stopped"), say("chat_start_again")))


def main() -> int:
    without_notes_to_programmers()
    chat = Chat(Path(sys.argv[1]))
    chat.outbox.emit(StateEvent, state=JobState.STARTING)
    try:
        return run(chat)
    except Exception as error:
        traceback.print_exc()
        from worker.trainer.failure import explain

        return chat.fail(for_chat(explain(error, chat.stage)))


if __name__ == "__main__":
    sys.exit(main())
