"""One message after the other: asked with what came before it, answered, measured, told."""

import time
import traceback
from collections.abc import Callable

import torch

from tunescope.events import ChatAnswerEvent, ChatTakenEvent
from tunescope.sentences import Sentence, say
from tunescope.wire import ChatMessage
from worker.chat.conversation import Conversation
from worker.chat.voice import Piece, TooLong, Voice
from worker.cuda_words import says_gpu_lost
from worker.outbox import Outbox
from worker.trainer.device import give_back
from worker.trainer.failure import first_line, is_out_of_memory
from worker.trainer.meter.meter import Meter


class Talk:
    """A conversation with a voice. What goes wrong with one answer is told in its place, and the next message may go better."""

    def __init__(self, voice: Voice, meter: Meter, outbox: Outbox) -> None:
        self._voice, self._meter, self._outbox = voice, meter, outbox
        self._conversation = Conversation(voice.has_template)

    def answer(self, message: ChatMessage, stopped: Callable[[], bool]) -> None:
        """Answer, and tell. Raises what ends the chat: a GPU that is lost."""
        began = time.monotonic()
        try:
            prompt = self._voice.prompt(self._conversation.asked(message))
        except TooLong as error:
            self._taken(message, error.tokens)
            most = self._voice.context_tokens
            self._fail(message, say("chat_too_long", tokens=error.tokens, most=most), began)
            return
        except Exception as error:  # a chat template is a program of the model's own
            traceback.print_exc()
            self._taken(message, None)
            self._fail(message, say("chat_answer_failed", said=first_line(str(error))), began)
            return
        self._taken(message, len(prompt))
        self._meter.begin("forward")
        try:
            answer = self._voice.answer(prompt, message, stopped, lambda piece: self._tell(message, piece, began))
        except Exception as error:
            full = is_out_of_memory(error)
            if (not full and says_gpu_lost(str(error))) or (isinstance(error, torch.AcceleratorError) and not full):
                raise
            traceback.print_exc()
            said = first_line(str(error))
            self._fail(message, say("chat_answer_no_memory" if full else "chat_answer_failed", said=said), began)
        else:
            self._conversation.answered(message, answer)
        finally:
            give_back()

    def _taken(self, message: ChatMessage, tokens: int | None) -> None:
        self._outbox.emit(ChatTakenEvent, number=message.number, prompt_tokens=tokens)

    def _tell(self, message: ChatMessage, piece: Piece, began: float) -> None:
        ended = piece.ended is not None
        self._outbox.emit(
            ChatAnswerEvent,
            number=message.number,
            text=piece.text,
            tokens=piece.tokens,
            kv_tokens=piece.kv_tokens,
            kv_bytes=piece.kv_bytes,
            kv_taken_bytes=piece.kv_taken_bytes,
            ended=piece.ended,
            seconds=time.monotonic() - began if ended else None,
            memory=self._meter.end().memory if ended else [],
        )

    def _fail(self, message: ChatMessage, problem: Sentence, began: float) -> None:
        self._outbox.emit(
            ChatAnswerEvent,
            number=message.number,
            text="",
            tokens=0,
            ended="problem",
            seconds=time.monotonic() - began,
            problem=problem,
        )
