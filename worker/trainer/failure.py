"""Exception -> Failure: what happened, in words for a person, and what to do next."""

import errno

import torch

from tunescope.events import Failure, FailureMemory
from tunescope.sentences import Sentence, say
from tunescope.states import FailureReason
from worker.cuda_words import NO_KERNEL, says_gpu_lost, says_out_of_memory
from worker.oom import account, moment
from worker.refusal import Refusal

SWALLOWED = "issues during automatic conversion of the weights"
"""transformers 5 (``core_model_loading.py`` log_conversion_errors) keeps what a weight's quantization raised, out of memory too, and
raises a plain RuntimeError in the end."""


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or says_out_of_memory(str(error)):
        return True
    return SWALLOWED in str(error) and torch.cuda.memory_stats().get("num_ooms", 0) > 0


def explain(error: BaseException, stage: str, memory: FailureMemory | None = None) -> Failure:
    """The reason of a failed attempt, from the exception and the stage in which it was raised.

    ``memory`` is what is known of the memory at that moment; it is told where memory was the reason.
    """
    text = str(error).strip() or type(error).__name__
    said = first_line(text)
    if isinstance(error, Refusal):
        return error.failure
    if is_out_of_memory(error):
        detail = say("out_of_memory", when=moment(memory, stage), said=said)
        return Failure.of(FailureReason.OUT_OF_MEMORY, detail, say("shorten"), memory, more=account(memory))
    if isinstance(error, RuntimeError) and says_gpu_lost(text):
        detail = say("gpu_failed", when=moment(memory, stage), said=said)
        return Failure.of(FailureReason.GPU_LOST, detail, say("see_gpu"), memory, more=account(memory))
    if NO_KERNEL in text:
        return without_gpu(said)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure.of(FailureReason.DISK_FULL, say("disk_full", stage=stage), say("free_space"))
    if "ParamWrapper does not work" in text:
        return Failure.of(FailureReason.INVALID_SETTINGS, say("experts_refused", said=said), say("plain_adapters"))
    if "Target modules" in text or "target_modules" in text or "PEFT target(s)" in text:
        return Failure.of(FailureReason.INVALID_SETTINGS, say("targets_refused", said=said), say("other_targets"))
    # A fault of CUDA, which may come at any moment, says nothing of the model.
    if stage == "loading the model" and not isinstance(error, torch.AcceleratorError):
        return Failure.of(FailureReason.INVALID_MODEL, say("model_not_loaded", said=said), say("check_model"))
    if stage == "building the data":
        return Failure.of(FailureReason.INVALID_DATASET, say("data_not_prepared", said=said), say("check_preview"))
    detail = say("trainer_raised", error=type(error).__name__, stage=stage, said=said)
    return Failure.of(FailureReason.TRAINER_CRASHED, detail, say("see_log"))


def without_gpu(said: str) -> Failure:
    """The job has a GPU, and torch cannot compute on it."""
    return Failure.of(FailureReason.GPU_LOST, say("torch_without_gpu", said=said), say("mend_driver"))


def stopped_in_time(because: Sentence, memory: FailureMemory) -> Failure:
    """placement.stop_before_oom: the trainer saved a checkpoint and left before memory ran out. ``memory`` has its step."""
    return Failure.of(
        FailureReason.OUT_OF_MEMORY,
        say("stopped_before_oom", step=memory.step or 0, because=because),
        say("retry_with_room"),
        memory.model_copy(update={"phase": None}),
        more=account(memory),
    )


def first_line(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= 500 else line[:497] + "…"
