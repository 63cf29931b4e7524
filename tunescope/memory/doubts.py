"""Where the closed form is known to miss: how far, and why. Each widens the interval and is told among the assumptions.

Measured against the tracer where the layers decide (loss in tiles); a recipe whose logits decide is closer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.persistent import EMBEDDINGS, HEADS, outer_targets
from tunescope.memory.stack import Stack
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec

EXACT_IN_FP32 = frozenset(("llama", "mistral", "qwen2", "qwen3", "gemma", "granite", "smollm3", "seed_oss"))
"""Families whose sites agree with the trace where adapters train on an fp32 model."""
MISSED_IN_FP32 = {"gpt_bigcode": 24, "phi": 3}
"""How far others miss, in percent, where it is more than 2."""


@dataclass(frozen=True)
class Doubt:
    """``percent`` of the tensors' bytes, either way."""

    percent: int
    sentence: Sentence

    @property
    def reason(self) -> str:
        return self.sentence.text


def doubts(spec: JobSpec, architecture: Architecture, stack: Stack) -> Iterator[Doubt]:
    """Every known miss over 1 % that applies to this job."""
    precision, adaptation = spec.precision, spec.adaptation
    lora = adaptation.method == "lora"
    if spec.parallelism.strategy != "none":
        yield Doubt(10, say("doubt_sharding"))
    if architecture.is_mixture and stack.transformers == 4:
        yield Doubt(5, say("doubt_experts_even"))
    if not architecture.traits.certain:
        yield Doubt(5, say("doubt_family", family=architecture.family))
    if lora and adaptation.use_dora and (percent := _missed_under_dora(spec)):
        yield Doubt(percent, say("doubt_dora"))
    if lora and precision.quantization == "int8":
        yield Doubt(2, say("doubt_int8"))
    if lora and precision.dtype == "float32" and architecture.family not in EXACT_IN_FP32:
        percent = MISSED_IN_FP32.get(architecture.family, 2)
        yield Doubt(percent, say("doubt_fp32_model", percent=percent))
    if not lora and precision.master_weights and architecture.is_mixture:
        yield Doubt(4, say("doubt_masters_of_experts"))
    if (
        lora
        and precision.quantization == "none"
        and {precision.dtype, precision.adapter_dtype} == {"bfloat16", "float16"}
    ):
        yield Doubt(8, say("doubt_two_sixteens"))
    saved = {module.split(".")[-1] for module in adaptation.modules_to_save} if lora else set[str]()
    if saved - HEADS - EMBEDDINGS - {"norm"}:
        yield Doubt(5, say("doubt_layers_in_full"))
    elif "norm" in saved and (
        precision.quantization != "none" or architecture.is_mixture or architecture.traits.norms_after
    ):
        yield Doubt(2, say("doubt_layers_in_full"))
    if lora and outer_targets(spec):
        yield Doubt(2, say("doubt_outer_adapters"))


def _missed_under_dora(spec: JobSpec) -> int:
    """Where only some layers of bitsandbytes give fp32, those between are taken to as well, or none is; the first layer reads 16 bit."""
    some = spec.adaptation.target_modules != "all-linear"
    if spec.precision.quantization == "none":
        return 2 if some else 0
    return 12 if some else 3
