"""What a spec needs of a GPU's hardware beside memory: its CUDA compute capability."""

from dataclasses import dataclass

from tunescope.memory.devices import Device
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec

AMPERE = (8, 0)
"""The first generation that computes in bfloat16, and the oldest that FlashAttention-2 is written for."""


@dataclass(frozen=True)
class Lack:
    """What a GPU cannot do that a spec asks for."""

    sentence: Sentence
    text: tuple[str, str]
    """English, Chinese."""


def lack_of(spec: JobSpec, device: Device) -> Lack | None:
    """Why a GPU cannot run a spec whatever its memory; None where it can, or where nothing is known of it."""
    if device.capability is None or device.capability >= AMPERE:
        return None
    needs = _needs_ampere(spec)
    if not needs:
        return None
    has = ".".join(map(str, device.capability))
    if len(needs) == 1:
        sentence = say("needs_capability", what=needs[0], has=has)
    else:
        sentence = say("both_need_capability", what=needs[0], other=needs[1], has=has)
    return Lack(sentence, (sentence.text, f"{' 与 '.join(needs)} 需要计算能力 8.0 或更高，它只有 {has}"))


def _needs_ampere(spec: JobSpec) -> list[str]:
    trains_in = [spec.precision.dtype]
    if spec.adaptation.method == "lora":
        trains_in.append(spec.precision.adapter_dtype)
    needs = ["bfloat16"] if "bfloat16" in trains_in else []
    if spec.memory_savers.attention == "flash_attention_2":
        needs.append("flash_attention_2")
    return needs
