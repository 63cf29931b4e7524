"""Which number type a machine can compute in at speed."""

import torch

from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec

NOTE = say("computes_in_float32")


def at_speed(spec: JobSpec) -> tuple[JobSpec, Sentence | None]:
    """The spec as this machine runs it, and a note if that differs or is slow.

    Without AVX-512, PyTorch multiplies bfloat16 number by number, so that a CPU does better in float32. A GPU without it runs the
    spec as it is: its memory was predicted so.
    """
    if torch.cuda.is_available():
        slow = spec.precision.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return spec, say("bfloat16_is_emulated", device=torch.cuda.get_device_name()) if slow else None
    if spec.precision.dtype == "float32" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return spec, None
    precision = spec.precision.model_copy(update={"dtype": "float32", "adapter_dtype": "float32"})
    return spec.model_copy(update={"precision": precision}), NOTE
