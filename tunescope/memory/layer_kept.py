"""What one decoder layer keeps from forward until backward, tensor by tensor, and the settings that decide it."""

from dataclasses import dataclass, replace

from tunescope.memory.architecture import Architecture, Layer, Linear
from tunescope.memory.windows import needs_mask


@dataclass(frozen=True)
class LayerSettings:
    """What decides the activations of a layer. Widths of numbers in bytes."""

    tokens: int
    sequence: int
    batch: int
    stream: int
    """Width of the residual stream: 2, or 4 when embeddings or norms are fp32."""
    embedded: int
    """Width of what the embedding gives, and of eager attention's masks."""
    compute: int
    autocast: bool
    full: bool
    weight: int
    adapter: int
    dropout: bool
    attention: str
    quantized: str
    nested: bool
    targets: frozenset[str]
    checkpointing: bool
    accumulates: bool = False
    """Whether gradients of earlier micro batches are there to add to."""
    uneven: bool = False
    """Padded or packed rows, which SDPA needs a mask for, and k and v repeated to the width of q."""
    packed: bool = False
    """Rows laid end to end: a mask has all tokens by all tokens, not each row's by its own."""
    dora: bool = False
    expert_runs: int = 1
    """Parts that a mixture's experts run in: one after the other (transformers 4), or all in one grouped product."""
    keeps_weights: bool = False
    """Restored matrices are saved for backward (auto-gptq's plain matmul), not restored again there."""
    norms: int = 0
    """Width of the norms' weights that train beside adapters, 0 where they are frozen."""
    reentrant: bool = False
    """Checkpointing of the kind that recomputes a layer to its end, output included; the other stops at the last tensor that is needed."""
    half: bool = False
    """Whether compute is in fp16, the type that LLM.int8 quantizes from and answers in."""
    reordered: bool = False
    """GPTQ's ``desc_act``: scales are gathered for every input."""

    def of(self, layer: Layer) -> "LayerSettings":
        """Those of one layer: with a mask for its window SDPA is given k and v for every head, and needs no plain products."""
        if self.attention == "math" and needs_mask(layer.window, self.sequence, "sdpa"):
            return replace(self, attention="sdpa")
        return self


@dataclass(frozen=True)
class LayerBytes:
    """Bytes kept until backward, the highest backward transient above them, and which half of the layer it is in."""

    kept: int
    backward: int
    backward_site: str
    without_input_gradient: int = 0
    """Bytes of ``kept`` that a layer whose input needs no gradient does not keep."""
    passing: int = 0
    """Bytes that forward itself needs at the layer's height, beyond what is kept."""
    held: int = 0
    """Bytes that stay from forward to the end of backward, even under checkpointing: LLM.int8 keeps its inputs as plain attributes."""
    held_by_first: int = 0
    """The same of a layer whose input needs no gradient."""


class Meter:
    """A running count and its maximum."""

    __slots__ = ("_place", "now", "peak", "where")

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self.where = ""
        self._place = ""

    def at(self, place: str) -> None:
        self._place = place

    def take(self, count: int) -> int:
        self.now += count
        if self.now > self.peak:
            self.peak, self.where = self.now, self._place
        return count

    def free(self, count: int) -> None:
        self.now -= count


class LayerKept:
    """A layer with its settings, and the bytes that each part of it keeps."""

    def __init__(self, architecture: Architecture, layer: Layer, settings: LayerSettings) -> None:
        self.a, self.layer, self.s = architecture, layer, settings
        self.t = settings.tokens
        self.h = self.t * architecture.hidden
        self.q = self.t * architecture.q_width
        self.k = self.t * architecture.kv_width
        self.meter = Meter()
        self.qkv = [linear for linear in layer.linears if linear.reads == "attention_input"]
        self.out = next(linear for linear in layer.linears if linear.reads == "attention_output")
        self.ups = [linear for linear in layer.linears if linear.reads == "mlp_input" and linear.outputs > 1]
        self.down = next((linear for linear in layer.linears if linear.reads == "mlp_product"), None)
        self.rows = self.t
        self.row = self.t if settings.packed else settings.sequence
        """Tokens that each one has a score for: packed rows are laid end to end in one."""
        self.passing = 0
        # Autocast runs nn.LayerNorm in fp32, RMSNorms are plain arithmetic and give the stream's type; a bitsandbytes
        # layer answers in the type that it was asked in (bitsandbytes nn/modules.py: ``.to(inp_dtype)``).
        self.normed = (
            4
            if architecture.traits.layer_norm and settings.autocast
            else max(settings.stream, settings.compute, 0 if architecture.traits.fp32_norm_weight else settings.norms)
        )
        self.answered = self.normed if settings.quantized in ("nf4", "fp4", "int8") else settings.compute
        self.normalized_width = 4 if architecture.traits.fp32_norm_weight else settings.stream
        """Of what an RMSNorm multiplies by its weight."""
        self.masked = (settings.uneven and settings.attention == "sdpa") or needs_mask(
            layer.window, settings.sequence, settings.attention
        )
        # A single head of k and v is repeated as a view, which autocast's copy of fp32 ones spreads out.
        self.repeats = self.masked and (architecture.kv_heads > 1 or self.answered != settings.compute)
        """Whether attention is given k and v as wide as q."""
        self.repeats_eagerly = architecture.kv_heads != architecture.heads and (
            architecture.kv_heads > 1 or settings.batch > 1 or self.answered != settings.compute
        )
        """The same of eager attention, whose products take such a view of a single row as it is."""
        kernels = settings.attention not in ("eager", "math")
        by_heads = architecture.traits.rotates_parts and settings.compute != 4 and not self.masked
        self.out_reads_attended = kernels and not by_heads
        """Whether the output projection reads what the attention kernel keeps, not a copy of it."""
        self.inputs_held = settings.quantized == "int8" and not settings.checkpointing
        """Whether what a matrix reads is counted apart, as its node holds it to the end of backward (``LayerBytes.held``)."""
        self.recomputed = False
        """Whether recomputation is over: what its nodes held as plain attributes went with them."""
        self.parallel = architecture.traits.norms_per_layer == 1
        """One norm feeds attention and MLP both (Phi, Falcon)."""
        self.normed_after = architecture.traits.norms_after or architecture.traits.norms_per_layer > 2
        """Whether what attention and MLP give is normed before it is added."""

    def in_four_bit(self, linear: Linear) -> bool:
        """Whether bitsandbytes keeps it so."""
        return self.s.quantized in ("nf4", "fp4") and linear.path not in self.layer.unquantized

    def in_eight_bit(self, linear: Linear) -> bool:
        return self.s.quantized == "int8" and linear.path not in self.layer.unquantized

    def inner(self, linear: Linear) -> int:
        """Width that peft casts an adapter's input to: the adapter's, but quantized layers leave that to autocast.

        (peft tuners/lora/bnb.py: ``requires_conversion = not torch.is_autocast_enabled()``)
        """
        quantized = self.s.quantized != "none" and linear.path not in self.layer.unquantized
        return self.s.compute if self.s.autocast and quantized else self.s.adapter

    def reading(self, linear: Linear) -> int:
        """Width of the numbers that a matrix is given."""
        if linear.reads in ("attention_input", "mlp_input"):
            return self.normed
        return self.answered if linear.reads == "mlp_product" else self.s.compute

    def norm_kept(self) -> int:
        """fp32 input of the norm, and the normalized values too when its weight trains."""
        if self.a.traits.layer_norm:
            return max(self.s.stream, 4 if self.s.autocast else 0) * self.h
        return 4 * self.h + self.normalized_kept()

    def normalized_kept(self) -> int:
        """Of an RMSNorm whose weight trains."""
        return self.normalized_width * self.h if self.s.full or self.s.norms else 0

    def input_kept(self, readers: list[Linear], count: int, shared_elsewhere: bool) -> int:
        """What the readers of one activation of ``count`` numbers keep of it."""
        s, shared_elsewhere = self.s, shared_elsewhere or self.inputs_held
        if s.full:
            if s.autocast and self.reading(readers[0]) != s.compute:
                # Autocast keeps a copy for each product.
                return len(readers) * s.compute * count
            return 0 if shared_elsewhere else s.compute * count
        adapted = [linear for linear in readers if linear.path in s.targets]
        holds = s.quantized == "int8" and not (shared_elsewhere or self.recomputed)
        frozen = self.reading(readers[0]) * count if holds else 0
        if not adapted:
            return frozen
        own = [linear for linear in adapted if not self.reads_as_it_is(linear)]
        masks = len(adapted) * count if s.dropout else 0
        copies = len(own) * (s.compute if s.autocast else s.adapter) * count + masks
        if len(own) == len(adapted):
            return copies + frozen
        return copies + (0 if shared_elsewhere else s.compute * count)

    def reads_as_it_is(self, linear: Linear) -> bool:
        """Whether an adapter keeps its matrix's own input, not a copy: cast, or with some left out."""
        return self.inner(linear) == self.s.compute == self.reading(linear) and not self.s.dropout

    def attention_kept(self) -> int:
        s, c = self.s, self.s.compute
        kept = c * (self.q + 2 * (self.q if self.repeats else self.k))
        kept += c * (self.t if s.packed else s.sequence) * self.t if self.masked else 0
        kept += self.qk_norms_kept()
        repeats = self.repeats_eagerly if s.attention == "eager" else self.repeats
        if len(self.qkv) == 1 and self.answered == c and not repeats and not self.a.traits.learned_positions:
            # v is a view of the fused projection's output, which stays whole beside the rotated q and k.
            kept += c * (self.q + self.k)
        if s.attention == "math":
            # Scaled q, repeated k and v, and what the softmax gave.
            return kept + 2 * c * (self.q - self.k) + c * self.a.heads * self.row * self.t
        if s.attention == "eager":
            repeated = 2 * c * (self.q - self.k) if self.repeats_eagerly else 0
            scores = self.a.heads * self.row * self.t
            return kept + repeated + (self.softmax_kept() + (c if self.a.traits.capped else 0)) * scores
        return kept + (0 if self.inputs_held and self.out_reads_attended else c * self.q) + 4 * self.a.heads * self.t

    def qk_norms_kept(self) -> int:
        """The norms of q and k keep their inputs in fp32, and what they normalized where their weights train."""
        if not (self.a.traits.qk_norm or self.a.traits.wide_qk_norm):
            return 0
        normalized = 4 if self.a.traits.fp32_norm_weight else self.answered
        return (4 + (normalized if self.s.full or self.s.norms else 0)) * (self.q + self.k)

    def softmax_kept(self) -> int:
        """Bytes a score of eager attention's softmax: its result in fp32, and that cast to compute dtype, or with some left out
        and the mask of which."""
        dropped = self.a.traits.attention_dropout
        return 4 + (self.s.compute if self.s.compute != 4 or dropped else 0) + dropped

    def residual_mask(self) -> int:
        """Of the dropout of what a half of the layer adds to the stream."""
        return self.h if self.a.traits.residual_dropout else 0

    def mlp_kept(self, width: int, rows: int) -> int:
        if self.a.traits.gated:
            return 3 * self.answered * rows * width
        return (self.spelled_gelu() if self.a.traits.spelled_gelu else self.answered) * rows * width

    def spelled_gelu(self) -> int:
        """Bytes a number of GELU as a formula: autocast raises to powers in fp32, and what follows stays there.

        Kept: the cube's input, the tanh, one plus it, and half the input (transformers ``activations.py`` NewGELUActivation).
        """
        if not self.s.autocast:
            return 4 * self.s.compute
        return 3 * 4 + self.answered

    def saved_weight(self, linear: Linear) -> int:
        return self.s.compute * linear.weight_count if self.s.keeps_weights else 0
