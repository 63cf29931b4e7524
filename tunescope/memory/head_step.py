"""The head and the loss: what they keep, copy and make above the layers. Bytes."""

from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.loss_path import (
    AUTOCAST_ON_LABELS,
    FLOAT_ON_LABELS,
    SHIFTED_SIXTEEN,
    SHIFTED_THEN_FLOAT,
    LossBytes,
    LossPath,
)
from tunescope.memory.persistent import WIDTHS, computing_width
from tunescope.memory.stack import Stack
from tunescope.memory.trained_modules import head_trains
from tunescope.memory.workload import Workload
from tunescope.spec import JobSpec

FUSED_TILE_TOKENS, FUSED_TILE_VOCAB = 4096, 32768
"""TRL 1.16's fused head works on tiles of this size, however small the vocabulary (``trl/kernels/chunked_logprob.py``)."""


def head_widths(spec: JobSpec, architecture: Architecture, settings: LayerSettings) -> tuple[int, int]:
    """Bytes of a hidden number above the layers: (at the end of forward, kept for backward)."""
    read = _head_reads(architecture, settings)
    # What the last norm read, in fp32, and what it normalized where its weight trains.
    normal = 4
    if settings.full or settings.norms:
        normal += 4 if architecture.traits.fp32_norm_weight else settings.stream
    if not head_trains(spec) or spec.memory_savers.fused_loss:
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


def head_casts(spec: JobSpec, architecture: Architecture, settings: LayerSettings, stack: Stack) -> int:
    """Autocast keeps the 16-bit copy of an fp32 head whose product needs it. The loss in tiles makes its own, tile by tile."""
    if spec.memory_savers.fused_loss or not _casts_head(spec, settings, stack):
        return 0
    return settings.compute * architecture.vocab * architecture.hidden


def _casts_head(spec: JobSpec, settings: LayerSettings, stack: Stack) -> bool:
    if not settings.autocast or settings.compute == 4:
        return False
    upcast = settings.quantized != "none" and stack.upcast == "all"
    return upcast or (head_trains(spec) and _head_width(settings, stack) == 4)


def _head_width(settings: LayerSettings, stack: Stack) -> int:
    """Bytes of a weight of a head that trains."""
    follows = not settings.full and stack.saved_modules_follow_adapters
    return settings.adapter if follows else settings.weight


def loss_bytes(
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
    table = architecture.vocab * architecture.hidden if head_trains(spec) else 0
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
