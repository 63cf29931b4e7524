"""Exception -> Failure: what happened, in words for a person, and what to do next."""

import errno

import torch

from tunescope.events import Failure, FailureMemory
from tunescope.sentences import Sentence, say
from tunescope.states import FailureReason
from worker.oom import account, moment
from worker.refusal import Refusal

GPU_LOST = (
    "uncorrectable ECC error", "GPU is lost", "fallen off the bus", "device is lost", "hardware stack error",
    "no CUDA-capable device", "devices unavailable", "device(s) is/are busy or unavailable", "CUDA driver initialization failed",
    "CUDA error: unknown error",
)  # fmt: skip
"""What the CUDA runtime says (cudaGetErrorString) when a device or its driver, not the program, has failed."""


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


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
    if isinstance(error, RuntimeError) and any(words in text for words in GPU_LOST):
        detail = say("gpu_failed", when=moment(memory, stage), said=said)
        return Failure.of(FailureReason.GPU_LOST, detail, say("see_gpu"), memory, more=account(memory))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure.of(FailureReason.DISK_FULL, say("disk_full", stage=stage), say("free_space"))
    if "ParamWrapper does not work" in text:
        return Failure.of(FailureReason.INVALID_SETTINGS, say("experts_refused", said=said), say("plain_adapters"))
    if "Target modules" in text or "target_modules" in text or "PEFT target(s)" in text:
        return Failure.of(FailureReason.INVALID_SETTINGS, say("targets_refused", said=said), say("other_targets"))
    if stage == "loading the model":
        return Failure.of(FailureReason.INVALID_MODEL, say("model_not_loaded", said=said), say("check_model"))
    if stage == "building the data":
        return Failure.of(FailureReason.INVALID_DATASET, say("data_not_prepared", said=said), say("check_preview"))
    detail = say("trainer_raised", error=type(error).__name__, stage=stage, said=said)
    return Failure.of(FailureReason.TRAINER_CRASHED, detail, say("see_log"))


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
