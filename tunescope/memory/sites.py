"""The moments of a training step at which memory can peak, each with its own bytes by category, before sharding.

load · forward_end · loss_backward · layer_backward_last · layer_backward_first · embedding_backward · optimizer_step
"""

from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_step import LayerBytes, LayerSettings, layer_bytes
from tunescope.memory.loss_path import LossBytes
from tunescope.memory.persistent import WIDTHS, Persistent, adapter_width, weight_width
from tunescope.memory.stack import Stack
from tunescope.spec import JobSpec

FUSED_TILE_TOKENS, FUSED_TILE_VOCAB = 4096, 32768
"""TRL 1.16's fused head works on tiles of this size (``trl/kernels/chunked_logprob.py``)."""


@dataclass(frozen=True)
class Site:
    """Bytes that come on top of the persistent ones at one moment; ``gradients`` is the share of them that exists."""

    name: str
    activations: int = 0
    logits: int = 0
    workspace: int = 0
    casts: int = 0
    gradients: int = 0
    cached: int = 0
    """Loss sites: bytes of free blocks that the caching allocator keeps and cannot use there, at fixed lengths."""


@dataclass(frozen=True)
class Workload:
    """Tokens of one micro batch as padded: ``batch`` rows of ``sequence`` tokens."""

    batch: int
    sequence: int

    @property
    def tokens(self) -> int:
        return self.batch * self.sequence


def stream_width(spec: JobSpec, stack: Stack) -> int:
    """Bytes of one number of the residual stream: 4 when norms or embeddings were cast to fp32."""
    quantized = spec.precision.quantization != "none"
    if quantized and stack.upcast != "nothing":
        return 4
    return max(weight_width(spec), WIDTHS[spec.precision.dtype])


def layer_settings(spec: JobSpec, work: Workload, stack: Stack, persistent: Persistent) -> LayerSettings:
    full = spec.adaptation.method == "full"
    width = weight_width(spec)
    # DeepSpeed runs the 16-bit model as it is, without autocast.
    deepspeed = spec.parallelism.strategy.startswith("zero")
    autocast = (
        (stack.autocast_adapters if not full else width == 4) and spec.precision.dtype != "float32" and not deepspeed
    )
    return LayerSettings(
        tokens=work.tokens,
        sequence=work.sequence,
        batch=work.batch,
        stream=stream_width(spec, stack),
        compute=WIDTHS[spec.precision.dtype],
        autocast=autocast,
        full=full,
        weight=width,
        adapter=adapter_width(spec),
        dropout=spec.adaptation.lora_dropout > 0 and not full,
        attention=spec.memory_savers.attention,
        quantized=spec.precision.quantization,
        nested=spec.precision.double_quant,
        targets=persistent.targets,
        checkpointing=spec.memory_savers.gradient_checkpointing,
        keeps_weights=stack.gptq_keeps_weights and spec.precision.quantization.startswith("gptq"),
    )


def training_sites(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent
) -> tuple[Site, ...]:
    """All sites of one steady step."""
    settings = layer_settings(spec, work, stack, persistent)
    hidden = work.tokens * architecture.hidden
    checkpointed = settings.checkpointing
    casts = (
        2 * persistent.layer_adapter_elements
        if settings.autocast and settings.adapter == 4 and not settings.full
        else 0
    )
    extra = _adapter_inner(spec, work, settings, persistent)
    layers = [(kind.count, layer_bytes(architecture, kind, settings)) for kind in architecture.layers]
    boundary = settings.stream * hidden
    kept_all = (
        architecture.layer_count * boundary
        if checkpointed
        else sum(count * (item.kept + extra) for count, item in layers)
    )
    weight_casts = (
        2 * persistent.trained_elements if settings.full and settings.weight == 4 and settings.autocast else 0
    )
    layer_casts = weight_casts // max(1, architecture.layer_count) if checkpointed else weight_casts
    all_casts = casts * architecture.layer_count
    head = (4 + settings.compute) * hidden
    gradients = persistent.gradients
    accumulated = gradients if spec.batch.gradient_accumulation_steps > 1 else 0
    loss = _loss_bytes(spec, architecture, work, stack)
    forward, backward = loss.forward, loss.backward
    passing = _forward_transient(architecture, work, settings.compute)
    last = max((item for _, item in layers), key=lambda item: item.kept + item.backward)
    tallest = _climb(last, checkpointed, extra, casts)
    head_gradient = _head_gradient(spec, architecture, persistent)
    # Gradients are zeroed to None after each optimizer step, so only accumulation carries them into a forward.
    first_kept = 0 if checkpointed else last.kept + extra
    return (
        Site("load", workspace=_largest_matrix(architecture) if spec.precision.quantization != "none" else 0),
        Site("forward_end", kept_all + head, forward, 0, weight_casts + all_casts, accumulated, passing),
        Site(
            "loss_backward",
            kept_all + head,
            backward,
            0,
            layer_casts,
            max(accumulated, head_gradient),
            passing + loss.reserved - max(forward, backward),
        ),
        Site("layer_backward_last", kept_all + tallest, 0, 0, layer_casts, max(accumulated, head_gradient)),
        Site(
            "layer_backward_first",
            boundary + first_kept + tallest,
            0,
            0,
            layer_casts,
            max(accumulated, gradients - _later_gradients(spec, architecture, persistent)),
        ),
        Site("embedding_backward", boundary, _embedding_temporary(spec, architecture, persistent), 0, 0, gradients),
        Site("optimizer_step", gradients=gradients),
    )


def _climb(layer: LayerBytes, checkpointed: bool, extra: int, casts: int) -> int:
    return layer.backward + (layer.kept + extra + casts if checkpointed else 0)


def _adapter_inner(spec: JobSpec, work: Workload, settings: LayerSettings, persistent: Persistent) -> int:
    """The r-wide outputs of every A, and their 16-bit weight casts are counted apart."""
    return len(persistent.targets) * settings.compute * spec.adaptation.r * work.tokens


def _forward_transient(architecture: Architecture, work: Workload, compute: int) -> int:
    """What one layer's forward makes and drops: too small for the logits, so it stays cached beside them."""
    widest = max(layer.mlp_width for layer in architecture.layers)
    return 3 * compute * work.tokens * (widest + architecture.hidden)


def _loss_bytes(spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack) -> LossBytes:
    """Bytes at the loss. Fused (TRL 1.16): one tile of logits, vectors, and the gradient of the hidden states."""
    entries = work.tokens * architecture.vocab
    hidden = work.tokens * architecture.hidden
    compute = WIDTHS[spec.precision.dtype]
    if spec.memory_savers.fused_loss:
        tile = min(work.tokens, FUSED_TILE_TOKENS) * min(architecture.vocab, FUSED_TILE_VOCAB) * compute
        vectors = 7 * 4 * work.tokens + compute * hidden
        trained_head = _head_trains(spec)
        weight_gradient = (4 + compute) * architecture.vocab * architecture.hidden if trained_head else 0
        backward = tile + vectors + (4 + compute) * hidden + weight_gradient
        return LossBytes(tile + vectors, backward, backward)
    sharded = spec.parallelism.strategy.startswith("zero")
    path = stack.loss_sharded if sharded and stack.loss_sharded is not None else stack.loss
    each = path.bytes_for(work.batch)
    scaled = compute * architecture.traits.scaled_logits * entries
    return LossBytes(
        each.forward * entries + scaled, each.backward * entries + scaled, each.reserved * entries + scaled
    )


def _head_trains(spec: JobSpec) -> bool:
    return spec.adaptation.method == "full" or "lm_head" in spec.adaptation.modules_to_save


def _head_gradient(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> int:
    if not _head_trains(spec):
        return 0
    width = persistent.trained[-1].width
    return width * architecture.vocab * architecture.hidden


def _later_gradients(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> int:
    """Gradients not made yet when the first layer's MLP is at its height: that layer's (but its last matrix's) and the embedding's."""
    if spec.adaptation.method != "full":
        return 0
    layer = architecture.layers[0]
    last = next((linear.weight_count for linear in layer.linears if linear.reads == "mlp_product"), 0)
    embedding = 0 if architecture.tied else architecture.vocab * architecture.hidden
    return persistent.trained[-1].width * (layer.parameter_count(architecture.hidden) - last + embedding)


def _embedding_temporary(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> int:
    """A tied table gets a dense gradient from the embedding beside the one from the head, before they are summed."""
    if spec.adaptation.method != "full" or not architecture.tied:
        return 0
    return persistent.trained[-1].width * architecture.vocab * architecture.hidden


def _largest_matrix(architecture: Architecture) -> int:
    """Weights are quantized one at a time: the 16-bit copy of the largest lives beside them while loading."""
    return 2 * max(linear.weight_count for layer in architecture.layers for linear in layer.linears)
