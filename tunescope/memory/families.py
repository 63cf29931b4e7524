"""What config.json does not say about each model_type: module names, norms, biases. Data, read in transformers' sources."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from tunescope.memory.config_reader import PUBLISHED
from tunescope.memory.windows import DEFAULT_WINDOW, Windows
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say


@dataclass(frozen=True)
class Family:
    """Traits shared by all models of one model_type."""

    mlp: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    output: str = "self_attn.o_proj"
    fused_qkv: str | None = None
    gated: bool = True
    qkv_bias: bool = False
    out_bias: bool | None = False
    """None: the output projection follows ``attention_bias``."""
    mlp_bias: bool = False
    tied: bool = False
    heads: int | None = None
    """Where config.json leaves it out, as Gemma 3's published ones do; None: it must not."""
    kv_heads: int | None = None
    """Where config.json leaves it out; None: as many as attention heads."""
    head_dim: int | None = None
    """Where config.json leaves it out; None: hidden size over heads."""
    vocab: int | None = None
    """Where config.json leaves it out; None: it must not."""
    shared_expert: int | None = None
    """Width of the shared expert where config.json leaves it out; None: there is none."""
    norms_per_layer: int = 2
    norms_after: bool = False
    """They norm what attention and MLP give, not what these read (OLMo 2)."""
    qk_norm: bool = False
    wide_qk_norm: bool = False
    """Norms over all heads at once, as wide as the projections (OLMo)."""
    layer_norm: bool = False
    spelled_gelu: bool = False
    """GELU written as a formula (``gelu_new``), whose every step autograd keeps; else one fused kernel."""
    caches_projection: bool = False
    """Hands its fused projection's output out as a cache, even under checkpointing (transformers 4)."""
    own_loss: bool = False
    """Cross-entropy of the logits as they are, without the fp32 copy that other models make (transformers 4)."""
    learned_positions: bool = False
    rotary: Literal["none", "one", "by_window"] = "one"
    """Tables of cos and sin that a step makes for the layers (transformers' ``RotaryEmbedding``): one for all, or one for those with
    a window and one for those without. None with learned positions or ALiBi, where the model's own code keeps them from step to step,
    and where only a part of each head is rotated: too few bytes."""
    rotates_parts: bool = False
    """Of each head a part is rotated and put together with the rest (``torch.cat``), so that heads lie one after the other: what flash
    attention gives lies so, too, and is copied for the output projection."""
    head_bias: bool = False
    halved_intermediate: bool = False
    mixture: bool = False
    expert_names: tuple[str, str, str] | None = None
    """What ``target_modules`` calls the experts' gate, up and down matrices, which transformers 5 stacks in two parameters
    (peft ``utils/transformers_weight_conversion.py``); None where peft knows no such names."""
    fp32_routing: bool = False
    """The router's weights of the chosen experts stay in fp32, and so does what they weigh."""
    fp32_norm_weight: bool = False
    """RMSNorm multiplies by its weight before it leaves fp32: what trains that weight is kept in fp32."""
    windows: Windows = "none"
    default_window: int | None = DEFAULT_WINDOW
    """The sliding window where config.json says nothing of it."""
    capped: bool = False
    """Attention scores and logits are soft-capped unless config.json turns it off: the tanh of each is kept."""
    attentions: tuple[str, ...] = ("sdpa", "flash_attention_2", "eager")
    """The implementations that transformers 5 has for it."""
    attention_dropout: bool = False
    """Attention drops scores unless config.json turns it off. Fused kernels keep nothing for it."""
    residual_dropout: bool = False
    """So does each half of a layer with what it adds to the stream: a mask of a byte a number is kept."""
    scaled_logits: int = 0
    """Extra copies of the 16-bit logits: 1 for granite's logits_scaling, and for the tanh of a soft cap."""
    multipliers: bool = False
    """Granite multiplies embeddings and what each half of a layer adds: one copy more of each."""
    certain: bool = True
    """False: shape known, activations not checked against a trace."""


_LLAMA = Family(out_bias=None)
_GLM = Family(mlp=("mlp.gate_up_proj", "mlp.down_proj"), kv_heads=2, head_dim=128, qkv_bias=True, rotates_parts=True)
FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": Family(kv_heads=8, windows="all"),
    "qwen": Family(
        mlp=("mlp.w1", "mlp.w2", "mlp.c_proj"), output="attn.c_proj", fused_qkv="attn.c_attn", qkv_bias=True, halved_intermediate=True,
        rotary="none",
    ),
    "qwen2": Family(kv_heads=32, qkv_bias=True, windows="from_layer"),
    "qwen3": Family(kv_heads=32, head_dim=128, qk_norm=True, out_bias=None, windows="from_layer"),
    "gemma": Family(kv_heads=16, head_dim=256, tied=True, out_bias=None, fp32_norm_weight=True),
    "gemma2": Family(
        kv_heads=4, head_dim=256, tied=True, norms_per_layer=4, scaled_logits=1, out_bias=None, windows="alternating", capped=True,
        fp32_norm_weight=True,
        attentions=("eager", "flash_attention_2"),
    ),
    "gemma3_text": Family(
        heads=8, kv_heads=4, head_dim=256, vocab=262_208, tied=True, norms_per_layer=4, qk_norm=True, out_bias=None,
        windows="but_every_sixth", fp32_norm_weight=True, rotary="by_window",
    ),
    "phi3": Family(
        mlp=("mlp.gate_up_proj", "mlp.down_proj"), fused_qkv="self_attn.qkv_proj", windows="all", default_window=None,
        rotates_parts=True,
    ),
    "granite": Family(multipliers=True, out_bias=None),
    "smollm3": Family(kv_heads=4, out_bias=None, tied=True, windows="without_rope", default_window=None),
    "seed_oss": Family(kv_heads=8, head_dim=128, qkv_bias=True, attention_dropout=True, residual_dropout=True),
    "ministral": Family(kv_heads=8, windows="all_unless_listed"),
    "ministral3": Family(kv_heads=8, head_dim=128, windows="all", default_window=None),
    "glm": _GLM,
    "glm4": replace(_GLM, norms_per_layer=4),
    "ernie4_5": Family(kv_heads=2, head_dim=128, tied=True),
    "internlm3": Family(kv_heads=2, head_dim=128, out_bias=None),
    "exaone4": Family(kv_heads=32, norms_after=True, qk_norm=True, windows="but_every_fourth"),
    "starcoder2": Family(
        mlp=("mlp.c_fc", "mlp.c_proj"), gated=False, kv_heads=2, qkv_bias=True, out_bias=True, mlp_bias=True, tied=True, layer_norm=True,
        windows="all", default_window=None, attention_dropout=True, residual_dropout=True, certain=False,
    ),
    "olmo2": Family(norms_after=True, wide_qk_norm=True, fp32_norm_weight=True),
    "olmo3": Family(norms_after=True, wide_qk_norm=True, fp32_norm_weight=True, windows="but_every_fourth", rotary="by_window"),
    "mimo": Family(qkv_bias=True, certain=False),
    "chatglm": Family(
        mlp=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"), output="self_attention.dense", fused_qkv="self_attention.query_key_value",
        qkv_bias=True, rotary="none", certain=False,
    ),
    "baichuan": Family(fused_qkv="self_attn.W_pack", rotary="none", certain=False),
    "minicpm": Family(tied=True, rotary="none", certain=False),
    "hunyuan_v1_dense": Family(qk_norm=True, certain=False),
    "arcee": Family(mlp=("mlp.up_proj", "mlp.down_proj"), gated=False, certain=False),
    "apertus": Family(mlp=("mlp.up_proj", "mlp.down_proj"), gated=False, qk_norm=True, certain=False),
    "phi": Family(
        mlp=("mlp.fc1", "mlp.fc2"), output="self_attn.dense", gated=False, qkv_bias=True, out_bias=True, mlp_bias=True,
        norms_per_layer=1, layer_norm=True, spelled_gelu=True, head_bias=True, rotary="none", rotates_parts=True, certain=False,
    ),
    "gpt_bigcode": Family(
        mlp=("mlp.c_fc", "mlp.c_proj"), output="attn.c_proj", fused_qkv="attn.c_attn", gated=False, qkv_bias=True, out_bias=True,
        mlp_bias=True, tied=True, layer_norm=True, caches_projection=True, own_loss=True, learned_positions=True, rotary="none",
        certain=False,
    ),
    "gpt_neox": Family(
        mlp=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"), output="attention.dense", fused_qkv="attention.query_key_value", gated=False,
        qkv_bias=True, out_bias=True, mlp_bias=True, layer_norm=True, rotary="none", rotates_parts=True, certain=False,
    ),
    "bloom": Family(
        mlp=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"), output="self_attention.dense", fused_qkv="self_attention.query_key_value",
        gated=False, qkv_bias=True, out_bias=True, mlp_bias=True, tied=True, layer_norm=True, attentions=("eager",), rotary="none",
        certain=False,
    ),
    "falcon": Family(
        mlp=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"), output="self_attention.dense", fused_qkv="self_attention.query_key_value",
        gated=False, tied=True, norms_per_layer=1, layer_norm=True, certain=False,
    ),
    "mixtral": Family(
        kv_heads=8, mixture=True, windows="all", default_window=None, expert_names=("w1", "w3", "w2"), fp32_routing=True
    ),
    "qwen2_moe": Family(kv_heads=16, shared_expert=5632, qkv_bias=True, mixture=True, windows="even_switched"),
    "qwen3_moe": Family(
        kv_heads=4, qk_norm=True, out_bias=None, mixture=True, windows="switched", expert_names=("gate_proj", "up_proj", "down_proj")
    ),
}  # fmt: skip


def expert_names_of(model_type: str) -> tuple[str, ...]:
    """What ``target_modules`` may call a mixture's experts beside names of modules; empty for other models."""
    family = FAMILIES.get(model_type)
    return family.expert_names if family is not None and family.expert_names else ()


def family_of(config: dict[str, Any]) -> tuple[str, Family]:
    """Find the family of a config.json. Raises InvalidInput "unknown architecture" rather than guess."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        error = FieldError("config.model_type", "is missing", PUBLISHED, "missing_in_config")
        raise InvalidInput(say("no_model_type"), say("use_published_config"), [error])
    family = FAMILIES.get(model_type)
    if family is None and isinstance(config.get("text_config"), dict):
        fix = "give its text_config as a config.json of its own; what else is in the model comes on top"
        error = FieldError("config.model_type", "has a text_config inside", fix, "text_config_inside")
        raise InvalidInput(say("more_than_text_decoder", family=model_type), say("give_text_config"), [error])
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        fix, values = f"estimates exist for {known}", {"known": known}
        error = FieldError("config.model_type", "unknown architecture", fix, "unknown_architecture", values)
        raise InvalidInput(
            say("architecture_unknown", family=model_type), say("estimates_exist_for", known=known), [error]
        )
    return model_type, family
