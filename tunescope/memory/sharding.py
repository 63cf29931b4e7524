"""DDP, ZeRO, FSDP and offload: the share of each tensor that one GPU of ``n`` holds. By formula, not checked by a trace.

Sources: DeepSpeed runtime/zero/stage3.py and stage_1_and_2.py, config defaults; for what FSDP gathers see ``fsdp.py``.
"""

from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.fsdp import Whole, whole
from tunescope.memory.optimizer_states import optimizer_bytes
from tunescope.memory.persistent import WIDTHS, Persistent
from tunescope.memory.stack import Stack
from tunescope.spec import JobSpec

ZERO_SUB_GROUP_ELEMENTS = 1_000_000_000
"""ZeRO-3 steps this many elements of a GPU at a time, with their gradients in fp32 (``sub_group_size``); ZeRO-1 and 2 all at once."""
ZERO_LIVE_ELEMENTS = 1_000_000_000
"""ZeRO-3 keeps this many gathered parameters alive (``stage3_max_live_parameters``)."""
ZERO_PREFETCH_ELEMENTS = 50_000_000
NCCL_BYTES = 600 * 1024**2
"""Outside torch, per GPU with a communicator: 0.3 to 1 GB."""
NCCL_ALONE_BYTES = 300 * 1024**2
"""The low end: one process has no peers to keep buffers for. DeepSpeed makes a communicator all the same, to broadcast the
weights (``runtime/engine.py _broadcast_model``)."""


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
    new_gradients: int = 0
    """ZeRO-2 under accumulation: those of this micro batch, beside the sum of the earlier ones that they are then added to
    (``stage_1_and_2.py`` ``copy_grads_in_partition``). The step's flattened copy finds their block."""
    fills_bucket: bool = False
    """Whether more trains than a bucket takes: ``new_gradients`` are there before the end of backward."""
    whole: Whole | None = None
    """What FSDP holds beside its shards."""


def share(spec: JobSpec, architecture: Architecture, persistent: Persistent, stack: Stack) -> Share:
    """Divide persistent tensors over the GPUs of the job."""
    strategy, gpus = spec.parallelism.strategy, spec.parallelism.gpus
    # A head of its own comes after the last layer; a table that is the embedding comes first. What adapters train is small.
    alone = architecture.tied or spec.adaptation.method == "lora"
    before_head = 0 if alone else architecture.last_layer.linears[-1].weight_count
    states, temporary = optimizer_bytes(spec, persistent.trained, stack.foreach_lists, before_head)
    zero = strategy in ("zero1", "zero2", "zero3")
    elements = persistent.trained_elements
    masters = 0
    if zero:
        # DeepSpeed keeps fp32 masters and fp32 moments of everything it trains, whatever the weights' type.
        masters = 4 * elements
        states = states if spec.optimizer.name not in ("adamw_torch", "adamw_torch_fused") else 8 * elements
        # Gradients are flattened in 16 bit, then cast to fp32 (stage_1_and_2.py step; stage3.py _prepare_fp32_grad_for_sub_group).
        stepped = min(elements, ZERO_SUB_GROUP_ELEMENTS * gpus) if strategy == "zero3" else elements
        temporary = (WIDTHS[spec.precision.dtype] + 4) * stepped
    sharded = gpus if strategy in ("zero3", "fsdp") else 1
    state_parts = gpus if zero or strategy == "fsdp" else 1
    weights, adapters = persistent.weights, persistent.adapters
    communication = 0
    if gpus > 1:
        communication += NCCL_BYTES
    elif zero:
        communication += NCCL_ALONE_BYTES
    if strategy == "ddp" and gpus > 1:
        # Buckets hold every gradient again: accelerate leaves gradient_as_bucket_view off.
        communication += persistent.gradients
    if strategy == "zero3":
        communication += _zero3_buffers(architecture, elements, gpus, stack)
    elif zero:
        # Two buckets while backward runs (``overlap_comm``), of full size however little trains. At the step they lie cached:
        # what it makes of all gradients is as a rule too large for them.
        communication += 2 * 2 * stack.zero_bucket_elements
    accumulates = spec.batch.gradient_accumulation_steps > 1
    new_gradients = persistent.gradients // gpus if strategy == "zero2" and accumulates else 0
    gradient_part = (1, gpus if strategy in ("zero2", "zero3", "fsdp") else 1)
    if spec.parallelism.offload != "none":
        # Gradients are summed up in main memory too (``cpu_offload`` of DeepSpeed's stage_1_and_2.py).
        states = masters = temporary = new_gradients = 0
    if offloads_weights(spec):
        weights = adapters = 0
    return Share(
        weights // sharded,
        # No parameter: bitsandbytes keeps it on the module, where nobody divides or moves it (``nn/modules.py`` ``Linear4bit.quant_state``).
        persistent.quantization_state,
        adapters // sharded,
        gradient_part,
        masters // state_parts,
        states // state_parts,
        temporary // state_parts,
        communication,
        new_gradients,
        elements > stack.zero_bucket_elements,
        whole(spec, architecture, persistent),
    )


def _zero3_buffers(architecture: Architecture, elements: int, gpus: int, stack: Stack) -> int:
    """One bucket for gradients, made with the optimizer and kept (stage3.py ``_setup_for_real_optimizer``), and gathered weights.

    A single process gathers none: its weights are views of what it stores (``partition_parameters.py`` ``NoGatherHandle``).
    """
    square = architecture.hidden**2
    bucket = square if stack.zero3_auto else stack.zero_bucket_elements
    prefetched = 9 * square // 10 if stack.zero3_auto else ZERO_PREFETCH_ELEMENTS
    gathered = min(prefetched, elements) + min(ZERO_LIVE_ELEMENTS, architecture.parameter_count) if gpus > 1 else 0
    return 2 * (bucket + gathered)


def can_divide(quantization: str, strategy: str) -> bool:
    """Whether a strategy that divides weights can divide these. ZeRO-3 and FSDP divide floating-point tensors: 4-bit weights can be
    stored as such (``bnb_4bit_quant_storage``), 8-bit and GPTQ's cannot."""
    return strategy not in ("zero3", "fsdp") or quantization in ("none", "nf4", "fp4")


def offloads_weights(spec: JobSpec) -> bool:
    """Whether weights wait in host memory: with FSDP they go together with the optimizer (``CPUOffloadPolicy``), else only ZeRO-3
    can (DeepSpeed's ``offload_param``)."""
    offload, strategy = spec.parallelism.offload, spec.parallelism.strategy
    return offload != "none" and (strategy == "fsdp" or (strategy == "zero3" and offload == "all"))
