"""Loss paths: which copies of the logits live at once, in the order the libraries make and drop them.

A path is text: ``name+4`` makes a tensor of 4 bytes per (token x vocabulary entry), ``-name`` drops it, ``|`` is where
backward begins, ``name*+2`` exists only in batches of several rows (a shifted copy of a single row is a view). Its peaks
and what the native caching allocator reserves for it follow from replaying that text, with best fit and no merging:
each of these tensors has a segment of its own.
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class LossBytes:
    """Bytes per (token x vocabulary entry): the peaks of forward and backward, and what stays reserved after both."""

    forward: int
    backward: int
    reserved: int


@dataclass(frozen=True)
class LossPath:
    """One library version's way from 16-bit logits to their gradient."""

    text: str

    @cached_property
    def several_rows(self) -> LossBytes:
        return _replayed(self.text.replace("*", ""))

    @cached_property
    def one_row(self) -> LossBytes:
        dropped = {word.split("*")[0] for word in self.text.split() if "*" in word}
        kept = [word for word in self.text.split() if word.lstrip("-").split("*")[0] not in dropped]
        return _replayed(" ".join(kept))

    def bytes_for(self, batch: int) -> LossBytes:
        return self.one_row if batch == 1 else self.several_rows


def _replayed(text: str) -> LossBytes:
    live: dict[str, tuple[int, int]] = {}
    """name: (bytes wanted, bytes of the block that serves it)"""
    free: list[int] = []
    forward = peak = reserved = 0
    for word in text.split():
        if word == "|":
            forward, peak = peak, sum(wanted for wanted, _ in live.values())
        elif word.startswith("-"):
            free.append(live.pop(word[1:])[1])
        else:
            name, size = word.split("+")
            wanted = int(size)
            block = min((size for size in free if size >= wanted), default=0)
            if block:
                free.remove(block)
                if block > wanted:
                    free.append(block - wanted)
            else:
                reserved += wanted
            live[name] = wanted, wanted
            peak = max(peak, sum(wanted for wanted, _ in live.values()))
    return LossBytes(forward, peak, reserved)


AUTOCAST_ON_LABELS = LossPath(
    "logits+2 float+4 logprob+4 -float output+4 -logits -output | nll+4 dfloat+4 -nll -logprob half+2 -dfloat -half"
)
"""transformers 5.23 ``loss/loss_utils.py``: the labels are shifted, not the logits; accelerate makes an fp32 output."""
AUTOCAST_SHIFTED_FLOAT = LossPath(
    "logits+2 float+4 shift*+4 logprob+4 -float -shift output+4 -logits -output"
    " | nll+4 dfloat+4 -nll -logprob half+2 -dfloat -half"
)
"""transformers 4.48.1 ``loss/loss_utils.py``: fp32 first, then a shifted fp32 copy, all alive in cross-entropy."""
SHIFTED_REBOUND = LossPath(
    "half+2 float+4 -half shift*+4 logprob+4 -float -shift | nll+4 dfloat+4 -nll -logprob dhalf+2 -dfloat -dhalf"
)
"""transformers 4.45.2 ``modeling_granite.py:1101``: the fp32 logits take the name of the 16-bit ones, which die."""
QWEN_2023 = LossPath(
    "logits+2 shift*+2 float+4 logprob+4 -float -shift output+4 -logits -output"
    " | nll+4 dfloat+4 -nll -logprob half+2 -dfloat whole+2 -half -whole"
)
"""Qwen-7B ``modeling_qwen.py``: a shifted 16-bit copy, cast to fp32 by autocast's cross-entropy."""
QWEN_2023_SIXTEEN = LossPath(
    "logits+2 shift*+2 logprob+2 -shift -logits | nll+2 dshift+2 -nll -logprob whole+2 -dshift -whole"
)
"""The same code without autocast (DeepSpeed runs a 16-bit model as it is): no fp32 copy anywhere."""
