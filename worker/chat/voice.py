"""The model of a chat: loaded as it was trained, with what was trained, and asked one message at a time."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils.constants import CONFIG_NAME
from transformers import DynamicCache, PreTrainedTokenizerBase, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from tunescope.events import ChatEnd
from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.inference import as_asked, estimate_inference
from tunescope.memory.ledger import Category
from tunescope.problems import Problem
from tunescope.sentences import say
from tunescope.spec import JobSpec
from tunescope.states import FailureReason
from tunescope.wire import ChatMessage
from worker.chat.cache import held_by, reserved_cache
from worker.refusal import Refusal
from worker.speech import GREEDY, UNFINISHED, Asked, Ends, decoded, end_tokens, prompt_tokens
from worker.tracer.registration import model_tensors
from worker.trainer.model import DTYPES, load_model, load_tokenizer

TELL_SECONDS = 0.1
"""Least time between two pieces of an answer."""
ANSWER_SECONDS = 600.0
"""Longest time for an answer: on a machine without a GPU a long one may take minutes."""


class TooLong(Exception):
    """The conversation does not fit into the chat's context."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"{tokens} tokens")
        self.tokens = tokens


@dataclass(frozen=True)
class Piece:
    """What an answer has come to since the piece before."""

    text: str
    tokens: int
    kv_tokens: int
    kv_bytes: int
    kv_taken_bytes: int
    ended: ChatEnd | None = None


def adapter_in(result: Path) -> bool:
    """Whether the files of a result are an adapter, and not a whole model."""
    return (result / CONFIG_NAME).is_file()


def load_voice(base: Path, result: Path, spec: JobSpec, context_tokens: int) -> "Voice":
    """Load what is to be asked. ``base`` is read only where the result is an adapter. Raises Refusal: the result is not here."""
    if not any(result.glob("*.safetensors")):
        raise Refusal(FailureReason.MACHINE_LOST, say("chat_result_gone", folder=str(result)), say("chat_share_data"))
    spec = as_asked(spec)
    if not adapter_in(result):
        return Voice(load_model(result, spec), load_tokenizer(result), context_tokens)
    plain = load_model(base, spec)
    before = {id(parameter) for parameter in plain.parameters()}
    model: Any = PeftModel.from_pretrained(plain, str(result), autocast_adapter_dtype=False)
    for parameter in model.parameters():
        if id(parameter) not in before and parameter.is_floating_point():
            parameter.data = parameter.data.to(DTYPES[spec.precision.dtype])
    added = {id(parameter) for parameter in model.parameters()} - before
    return Voice(model, load_tokenizer(result), context_tokens, added)


class Voice:
    """A loaded model that answers."""

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        context_tokens: int,
        adapter: set[int] | None = None,
    ) -> None:
        """``adapter``: ids of the parameters that were added to the model; None where every weight was trained."""
        self._model = model.eval().requires_grad_(False)
        self._model.config.use_cache = True
        self._tokenizer = tokenizer
        self._adapter = adapter
        self._ends = end_tokens(model, tokenizer)
        most: int | None = getattr(model.config, "max_position_embeddings", None)
        self.context_tokens = min(context_tokens, most or context_tokens)

    @property
    def has_adapter(self) -> bool:
        return self._adapter is not None

    @property
    def has_template(self) -> bool:
        return self._tokenizer.chat_template is not None

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._model.parameters())

    def held(self) -> dict[str, int]:
        """Bytes of the loaded tensors by category, each storage once."""
        added = self._adapter or set()
        storages: dict[int, tuple[Category, int]] = {}
        for tensor, category in model_tensors(self._model, "adapters"):
            storage = tensor.untyped_storage()
            storages.setdefault(storage.data_ptr(), (category, storage.nbytes()))
        for parameter in self._model.parameters():
            if id(parameter) in added:
                storage = parameter.data.untyped_storage()
                storages[storage.data_ptr()] = ("adapters", storage.nbytes())
        found: dict[str, int] = {}
        for category, count in storages.values():
            found[category] = found.get(category, 0) + count
        return found

    def predicted(self, spec: JobSpec) -> dict[str, Any]:
        """What the VRAM model says of it, as it is here: fields of ChatReadyEvent."""
        try:
            architecture = architecture_from_config(self._model.config.to_dict())
            found = estimate_inference(spec, architecture, self.context_tokens)
        except Problem:
            return {}
        return {"predicted": found.ledger, "kv_bytes_per_token": found.kv_bytes_per_token}

    def prompt(self, asked: Asked) -> list[int]:
        """The tokens of a conversation. Raises TooLong, or what the model's chat template raises."""
        tokens = prompt_tokens(self._tokenizer, asked)
        if len(tokens) >= self.context_tokens:
            raise TooLong(len(tokens))
        return tokens

    @torch.no_grad()
    def answer(
        self, prompt: list[int], message: ChatMessage, stopped: Callable[[], bool], tell: Callable[[Piece], None]
    ) -> str:
        """Answer, telling each piece; returns the whole. ``stopped`` is asked before each token."""
        given = torch.tensor([prompt], device=self._model.device)
        room = self.context_tokens - len(prompt)
        most = min(message.max_new_tokens, room)
        cache = reserved_cache(self._model.config, len(prompt) + most)
        telling = Telling(self._tokenizer, self._ends, cache, tell)
        until = time.monotonic() + ANSWER_SECONDS
        sampling: dict[str, Any] = {"do_sample": True, "temperature": message.temperature, "top_p": 1.0, "top_k": 0}
        with self._without_adapter() if self.has_adapter and not message.adapter else nullcontext():
            self._model.generate(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                past_key_values=cache,
                use_cache=True,
                max_new_tokens=most,
                stopping_criteria=StoppingCriteriaList([Ends(lambda: stopped() or time.monotonic() >= until)]),
                streamer=telling,
                pad_token_id=self._tokenizer.pad_token_id,
                **(sampling if message.temperature > 0 else GREEDY),
            )
        if telling.by_itself:
            ended: ChatEnd = "end"
        elif stopped():
            ended = "stopped"
        elif len(telling.tokens) >= most:
            ended = "context" if most == room else "length"
        else:
            ended = "time"
        telling.tell_last(ended)
        return telling.text

    def _without_adapter(self) -> Any:
        return self._model.disable_adapter()


class Telling(BaseStreamer):
    """Hears each token of an answer, and tells what they have come to a few times a second."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        ends: set[int],
        cache: DynamicCache,
        tell: Callable[[Piece], None],
    ) -> None:
        self._tokenizer, self._ends, self._cache, self._tell = tokenizer, ends, cache, tell
        self._prompted = False
        self._told, self._told_at = "", 0.0
        self.tokens: list[int] = []

    @property
    def by_itself(self) -> bool:
        """Whether the model has ended its answer."""
        return bool(self.tokens) and self.tokens[-1] in self._ends

    @property
    def text(self) -> str:
        return self._told

    def put(self, value: Any) -> None:
        if not self._prompted:  # generate begins with what was asked
            self._prompted = True
            return
        self.tokens += value.flatten().tolist()
        now = time.monotonic()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            # The last token may be a part of a character; the next ones complete it.
            self._piece(decoded(self._tokenizer, self.tokens).rstrip(UNFINISHED), None)

    def end(self) -> None:
        pass

    def tell_last(self, ended: ChatEnd) -> None:
        self._piece(decoded(self._tokenizer, self.tokens).rstrip(UNFINISHED), ended)

    def _piece(self, whole: str, ended: ChatEnd | None) -> None:
        new = whole[len(self._told) :] if whole.startswith(self._told) else ""
        if new or ended:
            self._told += new
            self._tell(Piece(new, len(self.tokens), *held_by(self._cache), ended))
