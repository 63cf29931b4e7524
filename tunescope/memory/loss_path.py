"""Loss paths: which copies of the logits live at once, in the order the libraries make and drop them.

A path is text: ``name+4`` makes a tensor of 4 bytes per (token x vocabulary entry), ``-name`` drops it, ``|`` is where
backward begins, ``name'+4`` has a token less of each row (the shifted ones), and ``name*+2`` exists only in batches of
several rows (a shifted copy of a single row is a view).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class LossBytes:
    """Bytes per (token x vocabulary entry): the peaks of forward and backward."""

    forward: int
    backward: int


@dataclass(frozen=True)
class LossPath:
    """One library version's way from 16-bit logits to their gradient."""

    text: str

    @cached_property
    def several_rows(self) -> LossBytes:
        return _counted(self.words(2))

    @cached_property
    def one_row(self) -> LossBytes:
        return _counted(self.words(1))

    def words(self, batch: int) -> list[str]:
        """The steps of the path for so many rows."""
        if batch > 1:
            return self.text.replace("*", "").split()
        dropped = {word.split("*")[0] for word in self.text.split() if "*" in word}
        return [word for word in self.text.split() if word.lstrip("-").split("*")[0] not in dropped]

    @property
    def drops_last_tokens(self) -> bool:
        """Whether some copies of the logits lack the last token of each row (names with a prime)."""
        return "'" in self.text

    def bytes_for(self, batch: int) -> LossBytes:
        return self.one_row if batch == 1 else self.several_rows


def _counted(words: Sequence[str]) -> LossBytes:
    live: dict[str, int] = {}
    forward = peak = 0
    for word in words:
        if word == "|":
            forward, peak = peak, sum(live.values())
        elif word.startswith("-"):
            del live[word[1:]]
        else:
            name, size = word.split("+")
            live[name] = int(size)
            peak = max(peak, sum(live.values()))
    return LossBytes(forward, peak)


AUTOCAST_ON_LABELS = LossPath(
    "logits+2 float+4 logprob+4 -float output+4 -logits -output | nll+4 dfloat+4 -nll -logprob half+2 -dfloat -half"
)
"""transformers 5.23 ``loss/loss_utils.py``: the labels are shifted, not the logits; accelerate makes an fp32 output."""
FLOAT_ON_LABELS = LossPath("logits+4 logprob+4 -logits | nll+4 dlogits+4 -nll -logprob -dlogits")
"""The same where the model computes in fp32: nothing is cast, and accelerate makes no output of its own."""
AUTOCAST_SHIFTED_FLOAT = LossPath(
    "logits+2 float+4 shift'*+4 logprob'+4 -float -shift' output+4 -output -logits"
    " | nll'+4 dfloat'+4 -nll' -logprob' whole+4 -dfloat' half+2 -whole -half"
)
"""transformers 4.48.1 ``loss/loss_utils.py``: fp32 first, then a shifted fp32 copy, all alive in cross-entropy."""
SHIFTED_REBOUND = LossPath(
    "half+2 float+4 -half shift'*+4 logprob'+4 -shift' -float"
    " | nll'+4 dfloat'+4 -nll' -logprob' whole+4 -dfloat' dhalf+2 -whole -dhalf"
)
"""transformers 4.45.2 ``modeling_granite.py:1101``: the fp32 logits take the name of the 16-bit ones, which die."""
SHIFTED_THEN_FLOAT = LossPath(
    "logits+2 shift'*+2 float'+4 logprob'+4 -float' -shift' output+4 -output -logits"
    " | nll'+4 dfloat'+4 -nll' -logprob' half'+2 -dfloat' whole+2 -half' -whole"
)
"""Qwen-7B ``modeling_qwen.py``, transformers 4.48.1 ``modeling_gpt_bigcode.py:1182``: a shifted 16-bit copy, cast to fp32 by autocast's cross-entropy."""
SHIFTED_SIXTEEN = LossPath(
    "logits+2 shift'*+2 logprob'+2 -shift' -logits | nll'+2 dshift'+2 -nll' -logprob' whole+2 -dshift' -whole"
)
"""The same code without autocast (DeepSpeed runs a 16-bit model as it is): no fp32 copy anywhere."""
