"""Where the closed form is known to miss: how far, and why. Each widens the interval and is told among the assumptions.

Measured against the tracer where the layers decide (loss in tiles); a recipe whose logits decide is closer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.persistent import EMBEDDINGS, HEADS, outer_targets
from tunescope.memory.stack import Stack
from tunescope.spec import JobSpec


@dataclass(frozen=True)
class Doubt:
    """``percent`` of the tensors' bytes, either way."""

    percent: int
    reason: str


def doubts(spec: JobSpec, architecture: Architecture, stack: Stack) -> Iterator[Doubt]:
    """Every known miss over 1 % that applies to this job."""
    precision, adaptation = spec.precision, spec.adaptation
    lora = adaptation.method == "lora"
    if spec.parallelism.strategy != "none":
        yield Doubt(10, "sharding and communication are by formula and less certain")
    if architecture.is_mixture and stack.transformers == 4:
        yield Doubt(5, "experts run one after the other and are taken to be evenly loaded: by analogy")
    if not architecture.traits.certain:
        yield Doubt(5, f"{architecture.family}: weights are exact, activations by analogy")
    if architecture.family == "seed_oss":
        yield Doubt(3, "seed_oss: quantized or without checkpointing, activations are up to 3 % low")
    if lora and adaptation.use_dora:
        yield Doubt(15, "DoRA: what its norms need for a moment is only estimated")
    if lora and precision.quantization == "int8":
        yield Doubt(11, "int8: what its layers keep of their inputs is only estimated")
    if lora and precision.dtype == "float32":
        percent = 21 if architecture.family == "seed_oss" else 2
        yield Doubt(percent, f"adapters on an fp32 model: activations within {percent} %")
    if not lora and precision.master_weights and architecture.is_mixture:
        yield Doubt(4, "fp32 masters of a mixture of experts: the experts' 16-bit copies are only estimated")
    saved = {module.split(".")[-1] for module in adaptation.modules_to_save} if lora else set[str]()
    if saved - HEADS - EMBEDDINGS:
        yield Doubt(5, "norms or layers trained in full beside adapters: activations around them are only estimated")
    elif saved & EMBEDDINGS:
        yield Doubt(2, "an embedding trained in full beside adapters: activations within 2 %")
    if lora and outer_targets(spec):
        yield Doubt(2, "adapters on embedding or head: activations within 2 %")
    if lora and precision.quantization != "none" and stack.upcast != "nothing":
        yield Doubt(2, "the k-bit preparation's fp32 norms: activations within 2 %")
