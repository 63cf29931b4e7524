"""The moments of a training step at which memory can peak, each with its own bytes by category, before sharding.

load · forward_end · loss_backward · layer_backward_last · layer_backward_first · embedding_backward · optimizer_step
"""

from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.layer_sites import LayersOfStep, layer_kinds
from tunescope.memory.layer_step import first_layer_backward, layer_bytes, norm_backward_bytes
from tunescope.memory.loss_path import (
    AUTOCAST_ON_LABELS,
    FLOAT_ON_LABELS,
    SHIFTED_SIXTEEN,
    SHIFTED_THEN_FLOAT,
    LossBytes,
    LossPath,
)
from tunescope.memory.persistent import (
    WIDTHS,
    Persistent,
    adapter_width,
    computing_adapter_width,
    computing_width,
    weight_width,
)
from tunescope.memory.stack import Stack
from tunescope.memory.windows import masked_windows, masks_for_nobody
from tunescope.spec import JobSpec

FUSED_TILE_TOKENS, FUSED_TILE_VOCAB = 4096, 32768
"""TRL 1.16's fused head works on tiles of this size, however small the vocabulary (``trl/kernels/chunked_logprob.py``)."""


@dataclass(frozen=True)
class Site:
    """Bytes that come on top of the persistent ones at one moment; ``gradients`` is the share of them that exists."""

    name: str
    activations: int = 0
    logits: int = 0
    workspace: int = 0
    casts: int = 0
    gradients: int = 0


@dataclass(frozen=True)
class Workload:
    """Tokens of one micro batch as padded: ``batch`` rows of ``sequence`` tokens."""

    batch: int
    sequence: int

    @property
    def tokens(self) -> int:
        return self.batch * self.sequence


def uneven(spec: JobSpec, work: Workload) -> bool:
    """Whether rows end at different tokens: packed into one, or several of a batch, of which the shorter ones are padded."""
    return spec.data.packing or work.batch > 1


def stream_width(spec: JobSpec, stack: Stack, architecture: Architecture) -> int:
    """Bytes of one number of the residual stream: 4 when norms or embeddings were cast to fp32.

    Also where bitsandbytes' layers or experts answer an fp32 norm in fp32, and the sum takes that type from the first layer on.
    """
    return 4 if _layers_widen(spec, architecture, stack) else embedded_width(spec, stack)


def embedded_width(spec: JobSpec, stack: Stack) -> int:
    """Bytes of one number that the embedding gives."""
    if (spec.precision.quantization != "none" and stack.upcast == "all") or _fp32_embedding(spec, stack):
        return 4
    return max(computing_width(spec), WIDTHS[spec.precision.dtype])


def _fp32_embedding(spec: JobSpec, stack: Stack) -> bool:
    """A trained copy of the embedding in fp32 begins the stream in fp32, and sums and norms keep that type."""
    lora = spec.adaptation.method == "lora"
    return lora and stack.saved_modules_follow_adapters and _embedding_trains(spec) and adapter_width(spec) == 4


def _layers_widen(spec: JobSpec, architecture: Architecture, stack: Stack) -> bool:
    # Stacked experts answer in the type that they are asked in, quantized or not.
    stacked = architecture.is_mixture and stack.transformers > 4
    if spec.precision.quantization not in ("nf4", "fp4", "int8") and not stacked:
        return False
    if architecture.traits.fp32_norm_weight:
        # Such norms give the type that they are asked in, whatever that of their weight is.
        return False
    wide = architecture.traits.layer_norm or _norm_width(spec, stack) == 4
    return stack.upcast == "norms" or (wide and stack.autocast_adapters and stack.upcast == "nothing")


def layer_settings(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent
) -> LayerSettings:
    full = spec.adaptation.method == "full"
    width = computing_width(spec)
    # DeepSpeed runs the 16-bit model as it is, without autocast.
    deepspeed = spec.parallelism.strategy.startswith("zero")
    autocast = (
        (stack.autocast_adapters if not full else width == 4) and spec.precision.dtype != "float32" and not deepspeed
    )
    return LayerSettings(
        tokens=work.tokens,
        sequence=work.sequence,
        batch=work.batch,
        stream=stream_width(spec, stack, architecture),
        embedded=embedded_width(spec, stack),
        compute=WIDTHS[spec.precision.dtype],
        autocast=autocast,
        full=full,
        weight=width,
        # Without adapters nothing is cast to their type.
        adapter=WIDTHS[spec.precision.dtype] if full else computing_adapter_width(spec),
        dropout=spec.adaptation.lora_dropout > 0 and not full,
        attention=_kernel(spec, architecture, work),
        quantized=spec.precision.quantization,
        nested=spec.precision.double_quant,
        targets=persistent.targets,
        checkpointing=spec.memory_savers.gradient_checkpointing,
        accumulates=spec.batch.gradient_accumulation_steps > 1,
        uneven=uneven(spec, work),
        packed=spec.data.packing,
        dora=spec.adaptation.use_dora and not full,
        expert_runs=next(
            (layer.experts.count for layer in architecture.layers if layer.experts and stack.transformers == 4), 1
        ),
        keeps_weights=stack.gptq_keeps_weights and spec.precision.quantization.startswith("gptq"),
        norms=_norm_width(spec, stack),
        reentrant=stack.reentrant and spec.memory_savers.gradient_checkpointing,
        reordered=architecture.stored is not None and architecture.stored.activation_order,
    )


def _kernel(spec: JobSpec, architecture: Architecture, work: Workload) -> str:
    """The attention that runs. Of SDPA's kernels flash takes 16-bit numbers only, and the memory-efficient one no grouped heads
    (``transformers/cuda/sdp_utils.cpp``): what is left for both is ``math``, plain products. With a mask no heads are grouped."""
    grouped = architecture.kv_heads != architecture.heads and not uneven(spec, work)
    if spec.memory_savers.attention == "sdpa" and spec.precision.dtype == "float32" and grouped:
        return "math"
    return spec.memory_savers.attention


def training_sites(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent
) -> tuple[Site, ...]:
    """All sites of one steady step."""
    settings = layer_settings(spec, architecture, work, stack, persistent)
    hidden = work.tokens * architecture.hidden
    checkpointed = settings.checkpointing
    boundary = settings.stream * hidden
    each = [layer_bytes(architecture, layer, settings) for layer in architecture.layers]
    table_gradient = _embedding_gradient(spec, architecture, persistent, stack)
    held = 0
    if not stack.reentrant:
        held = sum(layer.count * item.held_by_frames for layer, item in zip(architecture.layers, each, strict=True))
    ungraded, first_climb = 0, None
    if not checkpointed and not _embedding_trains(spec):
        ungraded = each[architecture.order[0]].without_input_gradient
        first_climb = first_layer_backward(architecture, architecture.layers[architecture.order[0]], settings)
    # What the embedding gives is in compute dtype even where the layers' sums are not.
    narrower = hidden * (settings.stream - settings.embedded)
    tables = _rotary_tables(spec, architecture, work, settings.embedded)
    masks = _masks(spec, architecture, work, settings)
    # Checkpointing keeps them as inputs of the layers; without it they go when the layers' forward ends.
    always = _inputs(spec, work) + sum(size for _, size in tables) + (masks if checkpointed else 0)
    multiplied = (
        boundary - narrower if architecture.traits.multipliers and checkpointed and not _embedding_trains(spec) else 0
    )
    always += multiplied
    head_casts = _head_casts(spec, architecture, settings, stack)
    head, head_kept = (always + count * hidden for count in _head_widths(spec, architecture, settings))
    gradients = persistent.gradients
    accumulated = gradients if settings.accumulates else 0
    loss = _loss_bytes(spec, architecture, work, settings, stack)
    forward, backward = loss.forward, loss.backward
    head_gradient = _head_gradient(spec, architecture, persistent)
    # A tied table's new gradient waits for the embedding's share before it is added to an older one.
    waiting = head_gradient if settings.full and settings.accumulates and architecture.tied else 0
    # Norms that train keep what they normalized, in the first layer in the embeddings' type.
    unwidened = 2 * narrower if settings.norms else 0
    layers = LayersOfStep(
        tuple(layer_kinds(spec, architecture, settings, persistent, each)),
        architecture.order,
        checkpointed,
        boundary,
        lasting=held - narrower if checkpointed else -ungraded - unwidened,
        gradients=gradients,
        earlier_gradients=table_gradient,
        gradients_there=accumulated + waiting,
        head_gradients=head_gradient,
        shared=(*(_masks_until(spec, architecture, work, settings) if checkpointed else ()), *tables),
        first_climb=first_climb,
    )
    at_end = layers.kept + head, forward
    # With the loss in tiles, forward may be higher inside a layer than at the loss.
    inside = always + layers.passing + _masks_for_nobody(spec, architecture, work, settings)
    if not checkpointed:
        # The embeddings are held by the model's frame, also where the first layer keeps nothing of them.
        inside += masks + (settings.compute * hidden if ungraded or settings.stream == 2 else 0)
    if sum(at_end) < inside:
        at_end = inside, 0
    at_end = at_end[0] + _cache(architecture, work, settings, stack), at_end[1]
    # Of 16-bit adapters the copies in another type are not cached.
    cached = not checkpointed or settings.full or settings.adapter == 4
    last, first = layers.backward()
    # Of embeddings in 16 bit the first layer's norms keep copies in fp32, beside its input and its residual.
    copied = narrower and (settings.stream + settings.embedded) * hidden if checkpointed and not settings.norms else 0
    # The head's own backward: gradient of the logits, and those of its weight and its input.
    head_backward = 0
    if head_gradient and not spec.memory_savers.fused_loss:
        of_input = settings.compute * hidden
        head_backward = settings.compute * work.tokens * architecture.vocab + of_input
        head_backward += head_casts or head_gradient
        if head_casts:
            # The weight's is made in 16 bit and cast to fp32 when the logits' and the head's own copy have gone.
            head_backward = max(head_backward, of_input + head_gradient)
    at_loss = layers.kept + head_kept, max(backward, head_backward)
    # The last norm's own backward, which is higher with the loss in tiles of many tokens.
    made = waiting if settings.accumulates else head_gradient
    normal = layers.kept + always + (4 + norm_backward_bytes(architecture)) * hidden, made
    at_loss = max(at_loss, normal, key=sum)
    # Gradients are zeroed to None after each optimizer step, so only accumulation carries them into a forward.
    embedding = (
        held
        + multiplied
        + (boundary - narrower) * (0 if ungraded else 1 if settings.full or _embedding_trains(spec) else 2)
    )
    if settings.full and architecture.tied:
        embedding = waiting
    elif settings.accumulates:
        embedding += table_gradient
    inputs = _inputs(spec, work)
    # What the layers are given goes with the first layer's backward; reentrant checkpointing's node holds it to the end.
    given = always - multiplied if checkpointed and stack.reentrant else inputs
    return (
        Site("load", workspace=_largest_matrix(architecture) if spec.precision.quantization != "none" else 0),
        Site("forward_end", *at_end, 0, (layers.casts if cached else 0) + head_casts, accumulated),
        Site(
            "loss_backward", *at_loss, 0,
            head_casts + (0 if checkpointed else layers.casts), accumulated,
        ),
        Site("layer_backward_last", last.activations + always, 0, 0, last.casts, last.gradients),
        Site("layer_backward_first", first.activations + always + copied, 0, 0, first.casts, first.gradients),
        Site("embedding_backward", embedding + given, _embedding_temporary(spec, architecture, persistent), 0, 0, gradients),
        Site("optimizer_step", inputs, gradients=gradients),
    )  # fmt: skip


def _head_widths(spec: JobSpec, architecture: Architecture, settings: LayerSettings) -> tuple[int, int]:
    """Bytes of a hidden number above the layers: (at the end of forward, kept for backward)."""
    read = _head_reads(architecture, settings)
    # What the last norm read, in fp32, and what it normalized where its weight trains.
    normal = 4
    if settings.full or settings.norms:
        normal += 4 if architecture.traits.fp32_norm_weight else settings.stream
    if not _head_trains(spec) or spec.memory_savers.fused_loss:
        # The loss in tiles keeps its own copy of what a head that trains reads.
        return normal + read, normal
    if read == settings.compute:
        return normal + read, normal + read
    return normal + read + settings.compute, normal + settings.compute


def _head_reads(architecture: Architecture, settings: LayerSettings) -> int:
    """Bytes of a number that the last norm gives: RMSNorms give the type of the stream or of their weight, whichever is wider,
    and autocast runs nn.LayerNorm in fp32."""
    if architecture.traits.layer_norm and settings.autocast:
        return 4
    return max(settings.stream, settings.compute, 0 if architecture.traits.fp32_norm_weight else settings.norms)


def _cache(architecture: Architecture, work: Workload, settings: LayerSettings, stack: Stack) -> int:
    """The keys and values that a model hands out although nobody generates: views, each of its layer's whole projection."""
    if not architecture.traits.caches_projection or stack.transformers > 4:
        return 0
    width = settings.stream if settings.quantized in ("nf4", "fp4", "int8") else settings.compute
    return architecture.layer_count * width * work.tokens * (architecture.q_width + 2 * architecture.kv_width)


def _embedding_trains(spec: JobSpec) -> bool:
    names = {module.split(".")[-1] for module in spec.adaptation.modules_to_save}
    return spec.adaptation.method == "full" or bool(names & {"embed_tokens", "wte", "word_embeddings"})


def _norm_width(spec: JobSpec, stack: Stack) -> int:
    """Of the norms' weights where they train beside adapters (peft takes every module whose name ends so), else 0."""
    names = {module.split(".")[-1] for module in spec.adaptation.modules_to_save}
    if spec.adaptation.method == "full" or "norm" not in names:
        return 0
    return _saved_width(spec, stack)


def _saved_width(spec: JobSpec, stack: Stack) -> int:
    """Bytes of a weight that trains in full beside adapters."""
    return adapter_width(spec) if stack.saved_modules_follow_adapters else weight_width(spec)


def _masks(spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings) -> int:
    """Those that the layers are given."""
    windows = {layer.window for layer in architecture.layers}
    attention = spec.memory_savers.attention
    return len(masked_windows(windows, work.sequence, attention, uneven(spec, work))) * _mask(spec, work, settings)


def _masks_for_nobody(spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings) -> int:
    windows = {layer.window for layer in architecture.layers}
    count = masks_for_nobody(architecture.traits.windows, windows, spec.memory_savers.attention, uneven(spec, work))
    return count * _mask(spec, work, settings)


def _mask(spec: JobSpec, work: Workload, settings: LayerSettings) -> int:
    row = work.tokens if spec.data.packing else work.sequence
    return (settings.embedded if spec.memory_savers.attention == "eager" else 1) * work.tokens * row


def _masks_until(
    spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings
) -> tuple[tuple[int, int], ...]:
    """(first layer that is given it, bytes) of every mask: backward lets it go with that layer."""
    each = [architecture.layers[kind].window for kind in architecture.order]
    masked = masked_windows(set(each), work.sequence, spec.memory_savers.attention, uneven(spec, work))
    return tuple((each.index(window), _mask(spec, work, settings)) for window in masked)


def _rotary_tables(
    spec: JobSpec, architecture: Architecture, work: Workload, width: int
) -> tuple[tuple[int, int], ...]:
    """(first layer that reads it, bytes) of each pair of cos and sin. Rows share one; packed rows have positions of their own."""
    if architecture.traits.rotary == "none":
        return ()
    positions = work.tokens if spec.data.packing else work.sequence
    size = 2 * width * architecture.head_dim * positions
    each = [architecture.layers[kind].window for kind in architecture.order]
    readers = set(each) if architecture.traits.rotary == "by_window" else {each[0]}
    return tuple((each.index(window), size) for window in readers)


def _inputs(spec: JobSpec, work: Workload) -> int:
    """ids, mask and labels, 8 bytes a token each, of the batch at hand and of every micro batch fetched ahead."""
    return 3 * 8 * work.tokens * (1 + spec.batch.gradient_accumulation_steps)


def _head_casts(spec: JobSpec, architecture: Architecture, settings: LayerSettings, stack: Stack) -> int:
    """Autocast keeps the 16-bit copy of an fp32 head whose product needs it. The loss in tiles makes its own, tile by tile."""
    if spec.memory_savers.fused_loss or not _casts_head(spec, settings, stack):
        return 0
    return settings.compute * architecture.vocab * architecture.hidden


def _casts_head(spec: JobSpec, settings: LayerSettings, stack: Stack) -> bool:
    if not settings.autocast or settings.compute == 4:
        return False
    upcast = settings.quantized != "none" and stack.upcast == "all"
    return upcast or (_head_trains(spec) and _head_width(settings, stack) == 4)


def _head_width(settings: LayerSettings, stack: Stack) -> int:
    """Bytes of a weight of a head that trains."""
    follows = not settings.full and stack.saved_modules_follow_adapters
    return settings.adapter if follows else settings.weight


def _loss_bytes(
    spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings, stack: Stack
) -> LossBytes:
    """Bytes at the loss."""
    if spec.memory_savers.fused_loss:
        return _loss_in_tiles(spec, architecture, work, settings, stack)
    entries = work.tokens * architecture.vocab
    each = loss_path_of(spec, architecture, stack).bytes_for(work.batch)
    scaled = WIDTHS[spec.precision.dtype] * architecture.traits.scaled_logits * entries
    return LossBytes(each.forward * entries + scaled, each.backward * entries + scaled)


def _loss_in_tiles(
    spec: JobSpec, architecture: Architecture, work: Workload, settings: LayerSettings, stack: Stack
) -> LossBytes:
    """One tile of logits, vectors, and the gradient of the hidden states (TRL 1.16 ``kernels/chunked_logprob.py``)."""
    hidden = work.tokens * architecture.hidden
    compute = WIDTHS[spec.precision.dtype]
    read = _head_reads(architecture, settings)
    tile = min(work.tokens, FUSED_TILE_TOKENS) * FUSED_TILE_VOCAB * compute
    # Its own copy of the hidden states; of fp32 ones those of a tile are cast, while the last tile's are still held.
    cast = compute * min(work.tokens, 2 * FUSED_TILE_TOKENS) * architecture.hidden if read > compute else 0
    always = tile + 7 * 4 * work.tokens + read * hidden + cast
    one, two, last = _cast_tiles(architecture, work, compute) if _casts_head(spec, settings, stack) else (0, 0, 0)
    table = architecture.vocab * architecture.hidden if _head_trains(spec) else 0
    # Both gradients are summed up in fp32, then cast; for an fp32 head the sum is its gradient.
    cast_hidden = read * hidden if read != 4 else 0
    cast_table = compute * table if _head_width(settings, stack) != 4 else 0
    sums = 4 * (hidden + table)
    return LossBytes(always + one, always + sums + max(two, last + cast_hidden + cast_table))


def _cast_tiles(architecture: Architecture, work: Workload, compute: int) -> tuple[int, int, int]:
    """16-bit copies of an fp32 head's rows: (the most of one tile, of one and the next, of the last). The loop of backward still
    holds a tile's copy while it makes the next one's."""
    whole, rest = divmod(architecture.vocab, FUSED_TILE_VOCAB)
    rows = [*[FUSED_TILE_VOCAB] * min(whole, 2), *([rest] if rest else [])]
    # After the last tile comes the first again, for the next tokens.
    following = [*rows[1:], *(rows[:1] if work.tokens > FUSED_TILE_TOKENS else [0])]
    each = compute * architecture.hidden
    two = max(one + other for one, other in zip(rows, following, strict=True))
    return each * rows[0], each * two, each * rows[-1]


def loss_path_of(spec: JobSpec, architecture: Architecture, stack: Stack) -> LossPath:
    """The copies of the logits that this stack makes for this job."""
    if spec.parallelism.strategy.startswith("zero") and stack.loss_sharded is not None:
        return stack.loss_sharded
    if not architecture.traits.own_loss or stack.transformers > 4:
        in_float = spec.precision.dtype == "float32" and stack.loss is AUTOCAST_ON_LABELS
        return FLOAT_ON_LABELS if in_float else stack.loss
    trained_in_sixteen = spec.adaptation.method == "full" and computing_width(spec) == 2
    return SHIFTED_SIXTEEN if trained_in_sixteen or not stack.autocast_adapters else SHIFTED_THEN_FLOAT


def _head_trains(spec: JobSpec) -> bool:
    return spec.adaptation.method == "full" or "lm_head" in spec.adaptation.modules_to_save


def _head_gradient(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> int:
    if not _head_trains(spec):
        return 0
    width = persistent.trained[-1].width
    return width * architecture.vocab * architecture.hidden


def _embedding_gradient(spec: JobSpec, architecture: Architecture, persistent: Persistent, stack: Stack) -> int:
    """What is made after the layers' backward. A tied table's is counted from the head's backward on."""
    table = architecture.vocab * architecture.hidden
    if spec.adaptation.method != "full":
        return _saved_width(spec, stack) * table if _embedding_trains(spec) else 0
    return 0 if architecture.tied else persistent.trained[-1].width * table


def _embedding_temporary(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> int:
    """A tied table gets a dense gradient from the embedding beside the one from the head, and their sum beside both."""
    if spec.adaptation.method != "full" or not architecture.tied:
        return 0
    return 2 * persistent.trained[-1].width * architecture.vocab * architecture.hidden


def _largest_matrix(architecture: Architecture) -> int:
    """Weights are quantized one at a time: the 16-bit copy of the largest lives beside them while loading."""
    return 2 * max(linear.weight_count for layer in architecture.layers for linear in layer.linears)
