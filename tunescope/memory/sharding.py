"""DDP, ZeRO, FSDP and offload: the share of each tensor that one GPU of ``n`` holds. By formula, not checked by a trace.

Sources: DeepSpeed runtime/zero/stage3.py and stage_1_and_2.py, config defaults; torch distributed/fsdp/_fully_shard.
"""

from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.persistent import Persistent, optimizer_bytes
from tunescope.spec import JobSpec

DDP_BUCKETS = "gradients again: accelerate leaves gradient_as_bucket_view off"
ZERO_BUCKET_ELEMENTS = 500_000_000
ZERO_PREFETCH_ELEMENTS = 50_000_000
NCCL_BYTES = 600 * 1024**2
"""Outside torch, per GPU with a communicator: 0.3 to 1 GB."""


@dataclass(frozen=True)
class Share:
    """Persistent bytes on one GPU."""

    weights: int
    quantization_state: int
    adapters: int
    gradient_part: tuple[int, int]
    """(numerator, denominator) of the gradients that stay here."""
    masters: int
    optimizer_states: int
    step_temporary: int
    communication: int


def share(spec: JobSpec, architecture: Architecture, persistent: Persistent, stored_masters: int) -> Share:
    """Divide persistent tensors over the GPUs of the job."""
    strategy, gpus = spec.parallelism.strategy, spec.parallelism.gpus
    states, temporary = optimizer_bytes(spec, persistent.trained)
    zero = strategy in ("zero1", "zero2", "zero3")
    elements = persistent.trained_elements
    masters = stored_masters
    if zero:
        # DeepSpeed keeps fp32 masters and fp32 moments of everything it trains, whatever the weights' type.
        masters = 4 * elements
        states = states if spec.optimizer.name not in ("adamw_torch", "adamw_torch_fused") else 8 * elements
        temporary = 0
    sharded = gpus if strategy in ("zero3", "fsdp") else 1
    state_parts = gpus if zero or strategy == "fsdp" else 1
    weights, constants, adapters = persistent.weights, persistent.quantization_state, persistent.adapters
    communication = 0
    if gpus > 1:
        communication += NCCL_BYTES
    if strategy == "ddp" and gpus > 1:
        communication += persistent.gradients
    if zero:
        bucket = min(ZERO_BUCKET_ELEMENTS, elements)
        communication += 2 * bucket * (2 if gpus > 1 else 1)
    if strategy == "zero3":
        communication += 2 * min(ZERO_PREFETCH_ELEMENTS, elements)
    if sharded > 1:
        largest = max(layer.parameter_count(architecture.hidden) for layer in architecture.layers)
        per_parameter = persistent.weights // max(1, architecture.parameter_count) or 1
        gathered = (3 if strategy == "fsdp" else 2) * largest + architecture.vocab * architecture.hidden
        communication += gathered * per_parameter
    gradient_part = (1, gpus if strategy in ("zero2", "zero3", "fsdp") else 1)
    if spec.parallelism.offload in ("optimizer", "all"):
        states = masters = temporary = 0
    if spec.parallelism.offload == "all" and strategy in ("zero3", "fsdp"):
        weights = constants = adapters = 0
    return Share(
        weights // sharded,
        constants // sharded,
        adapters // sharded,
        gradient_part,
        masters // state_parts,
        states // state_parts,
        temporary // state_parts,
        communication,
    )
