"""How a model is asked, and where its answer ends: alike for the answers of a finished run and for a chat."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria

Asked = str | list[dict[str, str]]
"""A text to go on with, or the turns of a conversation up to the assistant's last."""

GREEDY: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
"""The same weights say the same."""
UNFINISHED = "\ufffd"
"""What stands for a part of a character: tokens may be less than one."""


class Ends(StoppingCriteria):
    """Ends an answer when ``asked`` says so."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:
        ended: Any = torch.full((input_ids.shape[0],), self._asked(), device=input_ids.device)
        return ended


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, asked: Asked) -> list[int]:
    """Raises whatever a model's chat template raises for turns that it does not take."""
    if isinstance(asked, str):
        return list(tokenizer(asked)["input_ids"])
    told: Any = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)
    return list(told["input_ids"])


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens that end an answer."""
    own: Any = tokenizer.eos_token_id
    ends: Any = model.generation_config.eos_token_id
    return {own, *(ends if isinstance(ends, list) else [ends])}


def decoded(tokenizer: PreTrainedTokenizerBase, tokens: Any) -> str:
    """The text of an answer's tokens, those that end it left out."""
    text: Any = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)
