"""Whether torch can compute on the GPU that an order names, and giving memory back to it and to the machine.

Where torch cannot, it would train on the CPU without a word.
"""

import ctypes
import gc
import sys
from collections.abc import Sequence

import torch

from tunescope.sentences import say
from tunescope.states import FailureReason
from worker.refusal import Refusal


def refuse_without_gpu(gpus: Sequence[str]) -> None:
    """Raises Refusal where there are ``gpus`` (their UUIDs) and torch has none: the driver is too old, or torch built without CUDA.

    ``torch.cuda.is_available`` answers False for whatever goes wrong, and warns at most.
    """
    if gpus and not torch.cuda.is_available():
        raise Refusal(FailureReason.GPU_LOST, say("torch_without_gpu", said=why_not()), say("mend_driver"))


def why_not() -> str:
    """What torch itself says when it is made to begin with CUDA."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().splitlines()[0]
    return f"torch {torch.__version__} sees none"


def give_back() -> None:
    """Return memory that nothing holds any more to the GPU and the machine; glibc keeps what was freed otherwise."""
    gc.collect()
    torch.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def device_name() -> str:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
