"""Whether this machine has the attention kernel that a spec asks for: looked at before gigabytes of a model are fetched."""

from importlib.util import find_spec

import torch
from transformers.utils.import_utils import is_flash_attn_2_available

from tunescope.spec import JobSpec

AMPERE = (8, 0)
"""The lowest compute capability that FlashAttention-2 runs on."""


class NoKernel(Exception):
    """The kernel cannot run here; the text says why, ``mend`` what would change that on this machine."""

    def __init__(self, why: str, mend: str = "") -> None:
        super().__init__(why)
        self.mend = mend


def refuse_without_kernel(spec: JobSpec) -> None:
    """Raises NoKernel where ``memory_savers.attention`` cannot run on this machine."""
    if spec.memory_savers.attention != "flash_attention_2":
        return
    if not torch.cuda.is_available():
        raise NoKernel("flash_attention_2 runs on a GPU only, and this job's machine has none for it.")
    if torch.cuda.get_device_capability() < AMPERE:
        name = torch.cuda.get_device_name()
        raise NoKernel(f"flash_attention_2 needs a GPU of the Ampere generation or newer; this job's is {name}.")
    if not is_flash_attn_2_available():
        why = "there is none" if find_spec("flash_attn") is None else "the one there is too old or another package"
        raise NoKernel(
            f"flash_attention_2 needs the package flash-attn 2.3.3 or newer where the worker runs, and {why}.",
            "Or install flash-attn there (`pip install flash-attn`), then retry.",
        )
