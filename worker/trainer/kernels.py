"""Whether this machine has the attention kernel that a spec asks for: looked at before gigabytes of a model are fetched."""

from importlib.util import find_spec

import torch
from transformers.utils.import_utils import is_flash_attn_2_available

from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec
from tunescope.states import FailureReason
from worker.refusal import Refusal

AMPERE = (8, 0)
"""The lowest compute capability that FlashAttention-2 runs on."""


class NoKernel(Refusal):
    """The kernel cannot run here; ``advice`` says what would help."""

    def __init__(self, why: Sentence, advice: Sentence | None = None) -> None:
        super().__init__(FailureReason.INVALID_SETTINGS, why, advice or say("choose_sdpa"))


def refuse_without_kernel(spec: JobSpec) -> None:
    """Raises NoKernel where ``memory_savers.attention`` cannot run on this machine."""
    if spec.memory_savers.attention != "flash_attention_2":
        return
    if not torch.cuda.is_available():
        raise NoKernel(say("flash_needs_gpu"))
    if torch.cuda.get_device_capability() < AMPERE:
        raise NoKernel(say("flash_needs_ampere", gpu=torch.cuda.get_device_name()))
    if not is_flash_attn_2_available():
        missing = find_spec("flash_attn") is None
        raise NoKernel(say("flash_not_installed" if missing else "flash_too_old"), say("choose_sdpa_or_install"))
