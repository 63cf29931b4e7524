"""Which attention implementations a model has: transformers refuses the others when it builds the model."""

from collections.abc import Iterator

from tunescope.memory.architecture import Architecture
from tunescope.memory.stack import Stack
from tunescope.problems import FieldError
from tunescope.spec import JobSpec


def refused_attention(spec: JobSpec, architecture: Architecture, stack: Stack) -> Iterator[FieldError]:
    """Soft caps have no place in SDPA's kernels, and some old models have no kernel but their own."""
    chosen, able = spec.memory_savers.attention, architecture.traits.attentions
    if chosen not in able and stack.transformers > 4:
        choices, family = " or ".join(able), architecture.family
        message = f"{family} models have no {chosen} in transformers"
        values = {"family": family, "attention": chosen, "choices": choices}
        # eager is part of every model's code; flash_attention_2 must be installed.
        mend = {"memory_savers.attention": "eager"} if "eager" in able else {}
        yield FieldError("memory_savers.attention", message, f"choose {choices}", "no_such_attention", values, mend)
