"""What it takes to ask a trained model: weights as loaded, keys and values of the longest conversation, the pass over it, logits.

One row at a time through transformers' ``generate``. The highest moment is the first pass, over a
conversation that is as long as may be: every later one is of a single token.
"""

from dataclasses import dataclass
from typing import Any

from tunescope.memory import eight_bit
from tunescope.memory.architecture import Architecture, Layer
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.estimate import context_notes
from tunescope.memory.persistent import WIDTHS, persistent_tensors, rounded, targets_of
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec
from tunescope.units import MIB

LEAST_CONTEXT = 64
MOST_CONTEXT = 1_000_000
USUAL_CONTEXT = 4096
"""Tokens of the longest conversation where nobody says otherwise: most of what models can do is never used, and is memory."""


INDEX_BYTES = 4 * 8
"""Of one token: its number, its place in the mask, and its position twice, as 64-bit integers."""

GAPS_PERCENT, LEAST_GAPS = 5, 24 * MIB
"""What CUDA's allocator reserves beyond the tensors: in replays of the pass over conversations of 512 to 8192 tokens (Qwen2.5 0.5B to 72B,
Llama 2 and 3, Gemma, SmolLM2) at most 4.4 % of keys, values and activations, or 23 MiB. Keys and values are taken at once, not token by token
(``worker/chat/cache.py``), or it would be several times as much as they are."""


@dataclass(frozen=True)
class InferenceEstimate:
    """Bytes by category on one GPU, of a chat whose conversation is ``context_tokens`` long."""

    ledger: dict[str, int]
    device: Device
    context_tokens: int
    kv_bytes_per_token: int
    interval: tuple[int, int]
    assumption_sentences: tuple[Sentence, ...]

    @property
    def total_bytes(self) -> int:
        return sum(self.ledger.values())

    def to_dict(self) -> dict[str, Any]:
        """The shape of a job's estimate, with what is a chat's own."""
        return {
            "total_bytes": self.total_bytes,
            "ledger": self.ledger,
            "per_gpu": True,
            "device": {"name": self.device.name, "total_bytes": self.device.total_bytes},
            "fits": self.total_bytes <= self.device.total_bytes,
            "assumptions": [sentence.text for sentence in self.assumption_sentences],
            "assumption_sentences": [sentence.model_dump() for sentence in self.assumption_sentences],
            "interval": list(self.interval),
            "context_tokens": self.context_tokens,
            "kv_bytes_per_token": self.kv_bytes_per_token,
        }


def as_asked(spec: JobSpec) -> JobSpec:
    """The spec as a chat loads it: one GPU, no fp32 masters, and the adapter in the type that the model computes in.

    Autocast casts the adapter to that type for each product anyway, so that it says the same in half the bytes.
    """
    precision = spec.precision.model_copy(update={"master_weights": False, "adapter_dtype": spec.precision.dtype})
    parallelism = type(spec.parallelism)()
    return spec.model_copy(update={"precision": precision, "parallelism": parallelism})


def usual_context(architecture: Architecture | None) -> int:
    """Tokens of the longest conversation where none are asked for."""
    most = architecture.max_positions if architecture else None
    return min(USUAL_CONTEXT, most or USUAL_CONTEXT)


def kv_bytes_per_token(architecture: Architecture, dtype: str) -> int:
    """One key and one value of each layer, for every head that has its own (transformers ``DynamicLayer.update``)."""
    return 2 * architecture.layer_count * architecture.kv_width * WIDTHS[dtype]


def estimate_inference(
    spec: JobSpec,
    architecture: Architecture,
    context_tokens: int,
    device: Device = DEFAULT_DEVICE,
    stack: Stack = DEFAULT,
) -> InferenceEstimate:
    """Predict the peak VRAM of asking what ``spec`` trained. Raises InvalidInput for modules that the model has not."""
    spec = as_asked(spec)
    width = WIDTHS[spec.precision.dtype]
    held = persistent_tensors(spec, architecture, stack)
    per_token = kv_bytes_per_token(architecture, spec.precision.dtype)
    # A layer with a sliding window keeps a view into the whole row's keys until the next token (DynamicSlidingWindowLayer.update),
    # so that at the highest moment its window saves nothing.
    kv = per_token * context_tokens
    targets, _ = targets_of(spec, architecture, stack)
    activations = max(
        layer_bytes(layer, architecture, spec, targets, context_tokens) for layer in architecture.layers
    ) + rotary_bytes(architecture, context_tokens, width)
    # generate asks for the last token's logits only (_supports_logits_to_keep) and copies them to float32 (_sample). When they come,
    # what the layers took is free again: the embedded tokens and the hidden states before and after the last norm are left.
    head = logits_bytes(architecture.vocab, width)
    at_head = context_tokens * (3 * architecture.hidden * width + INDEX_BYTES) + rotary_bytes(
        architecture, context_tokens, width
    )
    if at_head + head > activations:
        activations, logits = at_head, head
    else:
        logits = 0
    context = device.context_band(stack.context_bytes)
    ledger = {
        "weights": held.weights,
        "quantization_state": held.quantization_state,
        "adapters": held.adapters,
        "kv_cache": kv,
        "activations": activations,
        "logits_and_loss": logits,
        "workspace": device.cublas_workspace_bytes
        + unpacked_bytes(architecture, spec)
        + weighed_bytes(architecture, spec, targets),
        "fragmentation": max(LEAST_GAPS, (kv + activations + logits) * GAPS_PERCENT // 100),
        "runtime_context": context[1],
    }
    total = sum(ledger.values())
    low = total - ledger["fragmentation"] - context[1] + context[0]
    high = total - context[1] + context[2]
    notes = [
        say("chat_longest", tokens=context_tokens, each_bytes=per_token),
        say("chat_one_row"),
        say("chat_gaps", percent=GAPS_PERCENT, least_bytes=LEAST_GAPS),
        *context_notes(device, stack),
    ]
    if architecture.is_mixture:
        notes.append(say("chat_experts_alike"))
    return InferenceEstimate(ledger, device, context_tokens, per_token, (low, high), tuple(notes))


def rotary_bytes(architecture: Architecture, tokens: int, width: int) -> int:
    """The tables of cos and sin that the layers share."""
    return 0 if architecture.traits.rotary == "none" else 2 * tokens * architecture.head_dim * width


def layer_bytes(layer: Layer, architecture: Architecture, spec: JobSpec, targets: frozenset[str], tokens: int) -> int:
    """The most that one layer holds beside weights and cache while it passes over ``tokens``, gradients off.

    All the while there are the embedded tokens and the layer's input, which the model's loop holds; after attention their sum with
    its output; and what the norm made of the stream (transformers ``LlamaModel.forward``, ``LlamaDecoderLayer.forward``).
    """
    width = WIDTHS[spec.precision.dtype]
    hidden, inner = architecture.hidden, eight_bit_bytes(architecture, spec)
    adapted = [linear.outputs for linear in layer.linears if linear.path in targets and spec.adaptation.use_dora]
    # DoRA scales what a matrix and its adapter give, and adds both: three more of the widest (peft ``tuners/lora/dora.py``).
    inner += 3 * max(adapted, default=0) * width
    most = max(
        hidden
        * (3 * width + 2 * 4),  # the second norm: its fp32 copy of the stream, and that scaled (LlamaRMSNorm.forward)
        (3 * hidden + attention_numbers(layer, architecture, targets)) * width + inner,
        (4 * hidden + mlp_numbers(layer, targets)) * width + inner,
    )
    return tokens * (most + INDEX_BYTES) + scores_bytes(layer, architecture, spec, tokens)


def attention_numbers(layer: Layer, architecture: Architecture, targets: frozenset[str]) -> int:
    """Of one token: q, k and v, and four of q while it is turned (``apply_rotary_pos_emb``); or one projection and its adapter's
    two terms before they are summed."""
    q, kv = architecture.q_width, architecture.kv_width
    turned = 4 * q + 2 * kv
    adapted = [linear for linear in layer.linears if linear.path in targets and linear.reads.startswith("attention")]
    wide = max((linear.outputs for linear in adapted), default=0)
    return max(turned, 2 * wide + q + 2 * kv)


def mlp_numbers(layer: Layer, targets: frozenset[str]) -> int:
    """Of one token: act(gate), up and their product; with an adapter on up, act(gate), the projection and the adapter's two terms."""
    gated = len([linear for linear in layer.linears if linear.reads == "mlp_input" and linear.outputs > 1]) > 1
    adapted = any(linear.path in targets and linear.reads == "mlp_input" for linear in layer.linears)
    terms = (3 if gated else 2) + (1 if adapted else 0)
    routed = 0
    if layer.experts:
        routed = (3 + (1 if adapted else 0)) * layer.experts.per_token * layer.experts.intermediate
    return terms * layer.mlp_width + routed


def eight_bit_bytes(architecture: Architecture, spec: JobSpec) -> int:
    """Of one token in bitsandbytes' int8 product."""
    if spec.precision.quantization != "int8":
        return 0
    width, half = WIDTHS[spec.precision.dtype], spec.precision.dtype == "float16"
    linears = (linear for layer in architecture.layers for linear in layer.linears)
    return max(eight_bit.product_bytes(each.inputs, each.outputs, output_width=width, half=half) for each in linears)


def scores_bytes(layer: Layer, architecture: Architecture, spec: JobSpec, tokens: int) -> int:
    """Attention scores and masks, where the kernel makes them. SDPA of one row needs neither, but for a window that is shorter."""
    width = WIDTHS[spec.precision.dtype]
    if spec.memory_savers.attention == "eager":
        # The scores, their float32 softmax, and that in the type of the values (eager_attention_forward); k and v for every head.
        repeated = 2 * (architecture.q_width - architecture.kv_width) * width
        return architecture.heads * tokens * tokens * (width + 4 + (width if width < 4 else 0)) + tokens * repeated
    if spec.memory_savers.attention == "sdpa" and layer.window is not None and layer.window <= tokens:
        return tokens * tokens + 2 * tokens * (architecture.q_width - architecture.kv_width) * width
    return 0


def logits_bytes(vocab: int, width: int) -> int:
    """Of the last token: as the head gives them, in float32, divided by the temperature, and their softmax."""
    return vocab * (width + 3 * 4)


def unpacked_bytes(architecture: Architecture, spec: JobSpec) -> int:
    """The largest 4-bit matrix, unpacked for one product (bitsandbytes ``MatMul4Bit.forward``)."""
    if spec.precision.quantization not in ("nf4", "fp4"):
        return 0
    width = WIDTHS[spec.precision.dtype]
    return rounded(max(linear.weight_count for layer in architecture.layers for linear in layer.linears) * width)


def weighed_bytes(architecture: Architecture, spec: JobSpec, targets: frozenset[str]) -> int:
    """Of the matrix under DoRA that takes most: B·A by way of an identity, and it with the matrix added, to measure norms at each pass
    (peft ``tuners/lora/dora.py``, which keeps none of them from pass to pass)."""
    if not spec.adaptation.use_dora:
        return 0
    width = WIDTHS[spec.precision.dtype]
    adapted = (linear for layer in architecture.layers for linear in layer.linears if linear.path in targets)
    return width * max((max(each.inputs**2, 2 * each.weight_count) + each.weight_count for each in adapted), default=0)
