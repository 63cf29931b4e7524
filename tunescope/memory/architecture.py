"""Architecture: the dimensions of a decoder that decide its memory, read from its config.json.

A layer is the list of its matrices, never "parameters x bytes": quantization, adapters and saved inputs are per matrix.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from tunescope.memory.config_reader import PUBLISHED, ConfigReader
from tunescope.memory.families import FAMILIES, Family, family_of
from tunescope.memory.stored_weights import StoredWeights, stored_weights
from tunescope.memory.windows import windowed_layers
from tunescope.problems import FieldError

Reads = Literal["attention_input", "attention_output", "mlp_input", "mlp_product"]


@dataclass(frozen=True)
class Linear:
    """One matrix of a layer: ``path`` inside the layer, and which activation it reads."""

    path: str
    inputs: int
    outputs: int
    bias: bool
    reads: Reads

    @property
    def weight_count(self) -> int:
        return self.inputs * self.outputs

    def matches(self, target: str) -> bool:
        """Whether peft's ``target_modules`` entry names it: the whole path or its end after a dot."""
        return self.path == target or self.path.endswith("." + target)


@dataclass(frozen=True)
class Experts:
    """A mixture-of-experts MLP: ``count`` experts of three matrices, ``per_token`` of them used by each token."""

    count: int
    per_token: int
    intermediate: int


@dataclass(frozen=True)
class Layer:
    """One kind of decoder layer, and how many there are of it."""

    count: int
    linears: tuple[Linear, ...]
    norms: tuple[int, ...]
    mlp_width: int
    experts: Experts | None = None
    window: int | None = None
    """Tokens that attention looks back, where it does not see the whole row."""
    unquantized: frozenset[str] = frozenset()
    """Paths of the matrices that a quantized checkpoint has in 16 bit."""

    def parameter_count(self, hidden: int) -> int:
        dense = sum(linear.weight_count + (linear.outputs if linear.bias else 0) for linear in self.linears)
        routed = (
            3 * hidden * self.experts.intermediate * self.experts.count + hidden * self.experts.count
            if self.experts
            else 0
        )
        return dense + sum(self.norms) + routed


@dataclass(frozen=True)
class Architecture:
    """A decoder-only transformer. ``name`` is for people, ``family`` is config.json's model_type."""

    name: str
    family: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    layers: tuple[Layer, ...]
    """Each kind once."""
    order: tuple[int, ...] = field(repr=False)
    """The kind of every layer, by its index in ``layers``."""
    traits: Family = field(repr=False)
    max_positions: int | None = None
    stored: StoredWeights | None = None
    """How its checkpoint is quantized; None: 16 or 32 bit."""

    @property
    def layer_count(self) -> int:
        return sum(layer.count for layer in self.layers)

    @property
    def last_layer(self) -> Layer:
        return self.layers[self.order[-1]]

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def is_mixture(self) -> bool:
        return any(layer.experts for layer in self.layers)

    @cached_property
    def parameter_count(self) -> int:
        """Parameters, tied ones once."""
        embeddings = (
            self.vocab * self.hidden * (1 if self.tied else 2)
            + self.position_count
            + (self.vocab if self.traits.head_bias else 0)
        )
        final_norm = self.hidden * (2 if self.traits.layer_norm else 1)
        return embeddings + final_norm + sum(layer.count * layer.parameter_count(self.hidden) for layer in self.layers)

    @property
    def position_count(self) -> int:
        """Parameters of learned positions."""
        return (self.max_positions or 0) * self.hidden if self.traits.learned_positions else 0


def architecture_from_config(config: dict[str, Any], name: str = "") -> Architecture:
    """Read a decoder's dimensions from a config.json. Raises InvalidInput naming each bad field, or the unknown type."""
    model_type, family = family_of(config)
    read = ConfigReader(config)
    hidden, count = read.number("hidden_size"), read.number("num_hidden_layers")
    heads, vocab = read.number("num_attention_heads", family.heads), read.number("vocab_size", family.vocab)
    kv_heads = _kv_heads(read, model_type, family, heads)
    head_dim = read.number("head_dim", family.head_dim or max(1, hidden // heads))
    intermediate = read.number("intermediate_size", 4 * hidden if not family.gated else None)
    counted = read.states("max_position_embeddings") or family.learned_positions
    positions = read.number("max_position_embeddings") if counted else None
    experts = None
    if family.mixture:
        experts = Experts(
            read.number("num_experts"),
            read.number("num_experts_per_tok"),
            read.number("moe_intermediate_size", intermediate),
        )
        if experts.per_token > experts.count and read.readable("num_experts", "num_experts_per_tok"):
            read.errors.append(
                FieldError(
                    "config.num_experts_per_tok",
                    f"is more than the {experts.count} experts there are",
                    PUBLISHED,
                    "more_than_experts",
                    {"experts": experts.count},
                )
            )
    if heads % kv_heads and read.readable("num_attention_heads", "num_key_value_heads"):
        own = not read.states("num_key_value_heads")
        told = f"is missing, and transformers' own {kv_heads}" if own else f"{kv_heads}"
        read.errors.append(
            FieldError(
                "config.num_key_value_heads",
                f"{told} does not divide the {heads} attention heads",
                PUBLISHED,
                "own_kv_heads_do_not_divide" if own else "kv_heads_do_not_divide",
                {"kv_heads": kv_heads, "heads": heads},
            )
        )
    divides = read.states("head_dim") or family.head_dim is not None or hidden % heads == 0
    if not divides and read.readable("hidden_size", "num_attention_heads"):
        read.errors.append(
            FieldError(
                "config.num_attention_heads",
                f"{heads} does not divide hidden_size {hidden}",
                PUBLISHED,
                "heads_do_not_divide",
                {"heads": heads, "hidden": hidden},
            )
        )
    if family.halved_intermediate and intermediate % 2:
        read.errors.append(
            FieldError(
                "config.intermediate_size",
                "must be even: it counts both halves of the gated MLP",
                PUBLISHED,
                "must_be_even",
            )
        )
    plan = _plan(read, family, experts, count)
    stored = stored_weights(read)
    tied = read.switch("tie_word_embeddings", family.tied)
    family = _without_dropout(config, _capped(config, family))
    read.finish()
    if family.halved_intermediate:
        intermediate //= 2
    shape = _Shape(hidden, heads * head_dim, kv_heads * head_dim, intermediate, head_dim)
    layers, order = _layers(plan, family, shape, count, stored)
    return Architecture(
        name or str(config.get("_name_or_path") or model_type),
        model_type, hidden, heads, kv_heads, head_dim, vocab, tied, layers, order, family, positions, stored,
    )  # fmt: skip


def _capped(config: dict[str, Any], family: Family) -> Family:
    """The family without the soft caps that this config.json turns off."""
    if not family.capped:
        return family
    off = [name for name in ("attn_logit_softcapping", "final_logit_softcapping") if config.get(name, 0) is None]
    return replace(
        family,
        capped="attn_logit_softcapping" not in off,
        scaled_logits=0 if "final_logit_softcapping" in off else family.scaled_logits,
    )


def _without_dropout(config: dict[str, Any], family: Family) -> Family:
    """The family without the dropout that this config.json turns off."""
    if not (family.attention_dropout or family.residual_dropout):
        return family
    on = {name: config.get(name) != 0 for name in ("attention_dropout", "residual_dropout")}
    return replace(
        family,
        attention_dropout=family.attention_dropout and on["attention_dropout"],
        residual_dropout=family.residual_dropout and on["residual_dropout"],
    )


def _kv_heads(read: ConfigReader, model_type: str, family: Family, heads: int) -> int:
    """Where config.json has no figure, a null means as many as attention heads, whatever the family's own number."""
    one = read.switch("multi_query", model_type in ("gpt_bigcode", "falcon"))
    if model_type == "falcon":
        if one and not read.switch("new_decoder_architecture", False):
            return 1  # transformers writes num_kv_heads beside it all the same, and does not read it
        one = False
    all_heads = "num_key_value_heads" in read.config or family.kv_heads is None
    return read.number("num_key_value_heads", 1 if one else heads if all_heads else family.kv_heads)


@dataclass(frozen=True)
class _Shape:
    hidden: int
    q: int
    kv: int
    intermediate: int
    head_dim: int


@dataclass(frozen=True)
class _Plan:
    """Where biases and experts sit."""

    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    experts: Experts | None
    sparse_step: int
    dense_only: frozenset[int]
    shared: int
    window: int | None
    windowed: list[bool]


def _plan(read: ConfigReader, family: Family, experts: Experts | None, count: int) -> _Plan:
    told = read.config.get("attention_bias") is not None
    bias = read.switch("attention_bias", read.switch("add_qkv_bias", family.qkv_bias))
    out_bias = (bias and told) if family.out_bias is None else family.out_bias
    shared = 0
    if experts and read.config.get("shared_expert_intermediate_size", family.shared_expert):
        shared = read.number("shared_expert_intermediate_size", family.shared_expert)
    return _Plan(
        bias, out_bias, read.switch("mlp_bias", family.mlp_bias), experts, read.number("decoder_sparse_step", 1),
        read.indices("mlp_only_layers"), shared, *windowed_layers(read, family.windows, count, family.default_window),
    )  # fmt: skip


def _layers(
    plan: _Plan, family: Family, shape: _Shape, count: int, stored: StoredWeights | None
) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """(the kinds of layers, which of them each layer is)."""
    attention = _attention(plan, family, shape)
    norms = [shape.hidden * (2 if family.layer_norm else 1)] * family.norms_per_layer
    if family.qk_norm:
        norms += [shape.head_dim, shape.head_dim]
    if family.wide_qk_norm:
        norms += [shape.q, shape.kv]
    dense = Layer(count, (*attention, *_mlp(plan, family, shape, shape.intermediate)), tuple(norms), shape.intermediate)
    sparse = dense
    if plan.experts is not None:
        extra: tuple[Linear, ...] = ()
        if plan.shared:
            extra = (
                *_mlp(plan, family, shape, plan.shared, "mlp.shared_expert"),
                Linear("mlp.shared_expert_gate", shape.hidden, 1, False, "mlp_input"),
            )
        sparse = Layer(count, (*attention, *extra), tuple(norms), plan.shared, plan.experts)
    each = [
        (
            _is_routed(index, plan),
            plan.windowed[index],
            _unquantized(index, sparse if _is_routed(index, plan) else dense, stored),
        )
        for index in range(count)
    ]
    kinds = Counter(each)
    layers = tuple(
        replace(
            sparse if routed else dense, count=number, window=plan.window if windowed else None, unquantized=unquantized
        )
        for (routed, windowed, unquantized), number in kinds.items()
    )
    places = {kind: place for place, kind in enumerate(kinds)}
    return layers, tuple(places[kind] for kind in each)


def _unquantized(index: int, layer: Layer, stored: StoredWeights | None) -> frozenset[str]:
    if stored is None or not stored.skipped:
        return frozenset()
    paths = (linear.path for linear in layer.linears)
    return frozenset(path for path in paths if stored.leaves(f"model.layers.{index}.{path}"))


def _is_routed(index: int, plan: _Plan) -> bool:
    return plan.experts is not None and index not in plan.dense_only and (index + 1) % plan.sparse_step == 0


def _attention(plan: _Plan, family: Family, shape: _Shape) -> tuple[Linear, ...]:
    bias = plan.qkv_bias
    out = Linear(family.output, shape.q, shape.hidden, plan.out_bias, "attention_output")
    if family.fused_qkv:
        return Linear(family.fused_qkv, shape.hidden, shape.q + 2 * shape.kv, bias, "attention_input"), out
    return (
        Linear("self_attn.q_proj", shape.hidden, shape.q, bias, "attention_input"),
        Linear("self_attn.k_proj", shape.hidden, shape.kv, bias, "attention_input"),
        Linear("self_attn.v_proj", shape.hidden, shape.kv, bias, "attention_input"),
        out,
    )


def _mlp(plan: _Plan, family: Family, shape: _Shape, width: int, prefix: str = "") -> tuple[Linear, ...]:
    paths = [f"{prefix}.{path.split('.')[-1]}" if prefix else path for path in family.mlp]
    widths = [2 * width] if family.gated and len(paths) == 2 else [width] * (len(paths) - 1)
    ups = [
        Linear(path, shape.hidden, size, plan.mlp_bias, "mlp_input") for path, size in zip(paths, widths, strict=False)
    ]
    return (*ups, Linear(paths[-1], width, shape.hidden, plan.mlp_bias, "mlp_product"))


def known_families() -> tuple[str, ...]:
    """The model_types that can be estimated."""
    return tuple(sorted(FAMILIES))
