"""Which number type a machine can compute in at speed."""

import torch

from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec

NOTE = say("computes_in_float32")
MULTIPLIES_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Capabilities of an x86 or ARM processor (``torch.cpu.get_capabilities``), any of which does."""


def at_speed(spec: JobSpec) -> tuple[JobSpec, Sentence | None]:
    """The spec as this machine runs it, and a note if that differs or is slow.

    A CPU without instructions for bfloat16 does better in float32: twice with AVX-512 alone, where oneDNN widens the numbers, many times
    without, where PyTorch multiplies them one by one. A GPU without it runs the spec as it is: its memory was predicted so.
    """
    if torch.cuda.is_available():
        slow = spec.precision.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False)
        return spec, say("bfloat16_is_emulated", device=torch.cuda.get_device_name()) if slow else None
    capabilities = torch.cpu.get_capabilities()
    if spec.precision.dtype == "float32" or any(capabilities.get(name) for name in MULTIPLIES_BFLOAT16):
        return spec, None
    precision = spec.precision.model_copy(update={"dtype": "float32", "adapter_dtype": "float32"})
    return spec.model_copy(update={"precision": precision}), NOTE
