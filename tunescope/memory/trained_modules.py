"""Embedding, head and norms where they train: whether they do, the width of their numbers, and their gradients in bytes."""

from tunescope.memory.architecture import Architecture
from tunescope.memory.persistent import Persistent, adapter_width, weight_width
from tunescope.memory.stack import Stack
from tunescope.spec import JobSpec


def embedding_trains(spec: JobSpec) -> bool:
    """Whether the input embedding trains in full, with all weights or as one of ``modules_to_save``."""
    names = {module.split(".")[-1] for module in spec.adaptation.modules_to_save}
    return spec.adaptation.method == "full" or bool(names & {"embed_tokens", "wte", "word_embeddings"})


def head_trains(spec: JobSpec) -> bool:
    """Whether the head trains in full, with all weights or as one of ``modules_to_save``."""
    return spec.adaptation.method == "full" or "lm_head" in spec.adaptation.modules_to_save


def norm_width(spec: JobSpec, stack: Stack) -> int:
    """Of the norms' weights where they train beside adapters (peft takes every module whose name ends so), else 0."""
    names = {module.split(".")[-1] for module in spec.adaptation.modules_to_save}
    if spec.adaptation.method == "full" or "norm" not in names:
        return 0
    return saved_width(spec, stack)


def saved_width(spec: JobSpec, stack: Stack) -> int:
    """Bytes of a weight that trains in full beside adapters."""
    return adapter_width(spec) if stack.saved_modules_follow_adapters else weight_width(spec)


def head_gradient(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> int:
    """Of the head's weight; 0 where it does not train."""
    if not head_trains(spec):
        return 0
    width = persistent.trained[-1].width
    return width * architecture.vocab * architecture.hidden


def embedding_gradient(spec: JobSpec, architecture: Architecture, persistent: Persistent, stack: Stack) -> int:
    """Of the embedding's weight, made after the layers' backward; 0 where it does not train. A tied table's is counted from the head's backward on."""
    table = architecture.vocab * architecture.hidden
    if spec.adaptation.method != "full":
        return saved_width(spec, stack) * table if embedding_trains(spec) else 0
    return 0 if architecture.tied else persistent.trained[-1].width * table


def embedding_temporary(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> int:
    """A tied table gets a dense gradient from the embedding beside the one from the head, and their sum beside both."""
    if spec.adaptation.method != "full" or not architecture.tied:
        return 0
    return 2 * persistent.trained[-1].width * architecture.vocab * architecture.hidden
