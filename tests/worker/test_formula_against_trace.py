"""The closed form against the tracer, site by site: real widths, two layers, real model code. Neither is fitted to the other.

Every site lies within 0.3 % of the step's peak, and the peak itself within 0.3 %. Of recipes whose layers are only estimated the
interval says so.
"""

from typing import Any

import pytest

from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.doubts import doubts
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.stack import DEFAULT, STACKS
from tunescope.memory.trace import Replay, Trace
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec
from worker.tracer import trace as tracer

pytestmark = pytest.mark.usefixtures("light_collections")

SITES = (
    "forward_end", "loss_backward", "layer_backward_last", "layer_backward_first", "embedding_backward", "optimizer_step",
)  # fmt: skip
TOLERANCE = 0.003
BASE = {
    "hidden_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 16, "num_key_value_heads": 4, "intermediate_size": 5632,
    "vocab_size": 32000, "max_position_embeddings": 8192,
}  # fmt: skip


def model(model_type: str, **changes: Any) -> dict[str, Any]:
    return {"model_type": model_type, **BASE, "tie_word_embeddings": False, **changes}


ARCHITECTURES = {
    "llama": model("llama"),
    "llama without grouped heads": model("llama", num_key_value_heads=16, intermediate_size=5504),
    "Llama-3.2-1B": model(
        "llama", num_attention_heads=32, num_key_value_heads=8, head_dim=64, intermediate_size=8192, vocab_size=128256,
        tie_word_embeddings=True,
    ),
    "SmolLM2-135M": model(
        "llama", hidden_size=576, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536, vocab_size=49152,
        tie_word_embeddings=True,
    ),
    "mistral": model("mistral", num_key_value_heads=8, intermediate_size=7168, sliding_window=None),
    "qwen2": model("qwen2", vocab_size=151936),
    "Qwen2.5-0.5B": model(
        "qwen2", hidden_size=896, num_attention_heads=14, num_key_value_heads=2, intermediate_size=4864, vocab_size=151936,
        tie_word_embeddings=True,
    ),
    "qwen3": model("qwen3", head_dim=128, vocab_size=151936),
    "qwen3 with wide heads": model("qwen3", num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936),
    "gemma": model(
        "gemma", num_attention_heads=8, num_key_value_heads=1, head_dim=256, intermediate_size=16384, vocab_size=256000,
        tie_word_embeddings=True,
    ),
    "granite": model("granite", tie_word_embeddings=True, logits_scaling=8.0),
    "smollm3": model("smollm3", vocab_size=128256, tie_word_embeddings=True, pad_token_id=0),
    "phi3": model("phi3", pad_token_id=0, eos_token_id=1),
    "seed_oss": model("seed_oss", head_dim=128),
}  # fmt: skip
PLAIN = {"quantization": "none"}
MASTERS = {**PLAIN, "master_weights": True}
FLOAT = {**PLAIN, "dtype": "float32"}
FULL = {"method": "full"}
KEEPING = {"gradient_checkpointing": False}
RECIPES: dict[str, dict[str, Any]] = {
    "LoRA": {"precision": PLAIN},
    "LoRA without dropout": {"precision": PLAIN, "adaptation": {"lora_dropout": 0.0}},
    "LoRA in bf16": {"precision": {**PLAIN, "adapter_dtype": "bfloat16"}},
    "LoRA in bf16 without dropout": {
        "precision": {**PLAIN, "adapter_dtype": "bfloat16"}, "adaptation": {"lora_dropout": 0.0},
    },
    "LoRA of rank 64": {"precision": PLAIN, "adaptation": {"r": 64}},
    "LoRA on q and v": {"precision": PLAIN, "adaptation": {"target_modules": ["q_proj", "v_proj", "qkv_proj"]}},
    "LoRA with FlashAttention-2": {"precision": PLAIN, "memory_savers": {"attention": "flash_attention_2"}},
    "LoRA with eager attention": {"precision": PLAIN, "memory_savers": {"attention": "eager"}},
    "LoRA without checkpointing": {"precision": PLAIN, "memory_savers": KEEPING},
    "LoRA with 8-bit Adam": {"precision": PLAIN, "optimizer": {"name": "adamw_8bit"}},
    "LoRA with the loss in tiles": {"precision": PLAIN, "memory_savers": {"fused_loss": True}},
    "LoRA on packed rows": {"precision": PLAIN, "data": {"dataset": "d", "max_length": 1280, "packing": True}},
    "QLoRA": {},
    "QLoRA without dropout": {"adaptation": {"lora_dropout": 0.0}},
    "QLoRA, single quantization": {"precision": {"double_quant": False}},
    "QLoRA without checkpointing": {"memory_savers": KEEPING},
    "full": {"precision": PLAIN, "adaptation": FULL},
    "full with fused Adam": {"precision": PLAIN, "adaptation": FULL, "optimizer": {"name": "adamw_torch_fused"}},
    "full without checkpointing": {"precision": PLAIN, "adaptation": FULL, "memory_savers": KEEPING},
    "full with accumulation": {
        "precision": PLAIN, "adaptation": FULL,
        "batch": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    },
    "full with SGD": {"precision": PLAIN, "adaptation": FULL, "optimizer": {"name": "sgd"}},
    "full with 8-bit Adam": {"precision": PLAIN, "adaptation": FULL, "optimizer": {"name": "adamw_8bit"}},
}  # fmt: skip
PLAINEST = ("llama", "Qwen2.5-0.5B", "qwen3 with wide heads", "granite")
FURTHER_RECIPES: dict[str, dict[str, Any]] = {
    "full with Adafactor": {"precision": PLAIN, "adaptation": FULL, "optimizer": {"name": "adafactor"}},
    "full in fp32 with Adafactor": {
        "precision": {**PLAIN, "dtype": "float32"}, "adaptation": FULL, "optimizer": {"name": "adafactor"},
    },
    "LoRA and the head in full with Adafactor": {
        "precision": PLAIN, "adaptation": {"modules_to_save": ["lm_head"]}, "optimizer": {"name": "adafactor"},
    },
    "LoRA and the head in full, loss in tiles": {
        "precision": PLAIN, "adaptation": {"modules_to_save": ["lm_head"]}, "memory_savers": {"fused_loss": True},
    },
    "full in fp32, loss in tiles": {
        "precision": FLOAT, "adaptation": FULL, "memory_savers": {"fused_loss": True}, "optimizer": {"name": "sgd"},
    },
    "full with fp32 masters, loss in tiles": {
        "precision": MASTERS, "adaptation": FULL, "memory_savers": {"fused_loss": True}, "optimizer": {"name": "adamw_8bit"},
    },
    "full with fp32 masters": {"precision": MASTERS, "adaptation": FULL},
    "full with fp32 masters without checkpointing": {"precision": MASTERS, "adaptation": FULL, "memory_savers": KEEPING},
    "full with fp32 masters and accumulation": {
        "precision": MASTERS, "adaptation": FULL,
        "batch": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    },
    "full in fp32": {"precision": {**PLAIN, "dtype": "float32"}, "adaptation": FULL},
    "full with paged 8-bit Adam": {
        "precision": PLAIN, "adaptation": FULL, "optimizer": {"name": "paged_adamw_8bit"},
    },
    "LoRA in int8": {"precision": {"quantization": "int8"}},
    "LoRA on an fp32 model": {"precision": FLOAT, "memory_savers": {"fused_loss": True}},
    "LoRA on an fp32 model without checkpointing": {"precision": FLOAT, "memory_savers": KEEPING},
    "LoRA on an fp32 model under eager attention": {"precision": FLOAT, "memory_savers": {"attention": "eager"}},
    "norms saved": {
        "precision": PLAIN, "adaptation": {"modules_to_save": ["norm"]}, "memory_savers": {"fused_loss": True},
    },
    "norms saved without checkpointing": {
        "precision": PLAIN, "adaptation": {"modules_to_save": ["norm"]},
        "memory_savers": {"fused_loss": True, **KEEPING},
    },
    "LoRA and the head in full": {"precision": PLAIN, "adaptation": {"modules_to_save": ["lm_head"]}},
}  # fmt: skip
"""Those that differ in what every architecture does alike: tried on four."""
ON_ATTENTION = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}
UNDROPPED = {"lora_dropout": 0.0}
INT8 = {"quantization": "int8"}
MIXTURES = {
    "mixtral": model(
        "mixtral", intermediate_size=3584, num_local_experts=4, num_experts_per_tok=2, sliding_window=None
    ),
    "qwen2_moe": model(
        "qwen2_moe",
        num_experts=16,
        num_experts_per_tok=4,
        moe_intermediate_size=768,
        shared_expert_intermediate_size=2816,
    ),
    "qwen3_moe": model("qwen3_moe", head_dim=128, num_experts=16, num_experts_per_tok=4, moe_intermediate_size=768),
}
EVERY_SECOND = {"decoder_sparse_step": 2}
ALTERNATING = {
    "qwen2_moe, every second layer dense": {**MIXTURES["qwen2_moe"], **EVERY_SECOND},
    "qwen3_moe, every second layer dense": {**MIXTURES["qwen3_moe"], **EVERY_SECOND},
    "qwen3_moe, the last of three layers dense": {
        **MIXTURES["qwen3_moe"],
        "num_hidden_layers": 3,
        "mlp_only_layers": [2],
    },
}
MIXTURE_RECIPES: dict[str, dict[str, Any]] = {
    "adapters on attention": {"precision": PLAIN, "adaptation": ON_ATTENTION},
    "adapters on attention without checkpointing": {
        "precision": PLAIN,
        "adaptation": ON_ATTENTION,
        "memory_savers": KEEPING,
    },
    "adapters on experts": {"precision": PLAIN, "adaptation": UNDROPPED},
    "adapters on experts in bf16, loss in tiles": {
        "precision": {**PLAIN, "adapter_dtype": "bfloat16"},
        "adaptation": UNDROPPED,
        "memory_savers": {"fused_loss": True},
    },
    "adapters on experts without checkpointing": {
        "precision": PLAIN,
        "adaptation": UNDROPPED,
        "memory_savers": KEEPING,
    },
    "adapters on experts of rank 64 over nf4": {"adaptation": {**UNDROPPED, "r": 64}},
    "adapters over int8": {"precision": {"quantization": "int8"}, "adaptation": UNDROPPED},
    "adapters in fp16": {"precision": {**PLAIN, "dtype": "float16"}, "adaptation": ON_ATTENTION},
    "full": {"precision": PLAIN, "adaptation": FULL},
    "full without checkpointing": {"precision": PLAIN, "adaptation": FULL, "memory_savers": KEEPING},
    "full with the loss in tiles and accumulation": {
        "precision": PLAIN,
        "adaptation": FULL,
        "memory_savers": {"fused_loss": True},
        "batch": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    },
}
TILED = {"fused_loss": True}
GEMMA2 = model(
    "gemma2", hidden_size=2304, num_attention_heads=8, num_key_value_heads=4, head_dim=256, intermediate_size=9216,
    vocab_size=256000, sliding_window=4096,
)  # fmt: skip
SHORT_WINDOW = {"sliding_window": 512}
ONE_ROW = {
    "data": {"dataset": "d", "max_length": 1280},
    "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1},
}
WINDOWS = {
    "Mistral with a window": model("mistral", num_key_value_heads=8, intermediate_size=7168, **SHORT_WINDOW),
    "Mistral's own window": {**ARCHITECTURES["mistral"], "sliding_window": 4096},
    "Qwen2 with windows": model("qwen2", use_sliding_window=True, max_window_layers=0, **SHORT_WINDOW),
    "Qwen2 with windows in the upper layers": model(
        "qwen2", use_sliding_window=True, max_window_layers=1, **SHORT_WINDOW
    ),
    "Qwen2 with its windows off": model("qwen2", use_sliding_window=False, **SHORT_WINDOW),
    "Gemma 3": model(
        "gemma3_text",
        hidden_size=1152,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        intermediate_size=6912,
        layer_types=["full_attention", "sliding_attention"],
        **SHORT_WINDOW,
    ),
    "Gemma 3 of four layers, the ends without a window": model(
        "gemma3_text",
        hidden_size=1152,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        intermediate_size=6912,
        layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
        **SHORT_WINDOW,
    ),
}
WINDOW_RECIPES: dict[str, dict[str, Any]] = {
    "LoRA under SDPA": {"precision": PLAIN, "memory_savers": TILED},
    "LoRA with FlashAttention-2": {"precision": PLAIN, "memory_savers": {**TILED, "attention": "flash_attention_2"}},
    "LoRA with eager attention": {"precision": PLAIN, "memory_savers": {**TILED, "attention": "eager"}},
    "LoRA under SDPA, long rows": {
        "precision": PLAIN,
        "memory_savers": TILED,
        "data": {"dataset": "d", "max_length": 6000},
        "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1},
    },
    "full under SDPA without checkpointing": {"precision": PLAIN, "adaptation": FULL, "memory_savers": KEEPING},
    "LoRA on packed rows": RECIPES["LoRA on packed rows"],
    "QLoRA": {"memory_savers": TILED},
    "LoRA without dropout, one row": {
        "precision": PLAIN,
        "adaptation": UNDROPPED,
        "memory_savers": TILED,
        **ONE_ROW,
    },
    "LoRA without checkpointing, one row": {"precision": PLAIN, "memory_savers": {**TILED, **KEEPING}, **ONE_ROW},
}
UNPADDED_RECIPES = {
    name: {**(RECIPES | FURTHER_RECIPES)[name], **ONE_ROW}
    for name in (
        "LoRA", "LoRA without checkpointing", "QLoRA without checkpointing", "full without checkpointing", "LoRA on an fp32 model",
        "LoRA on an fp32 model without checkpointing",
    )
}  # fmt: skip
EAGER = {"attention": "eager"}
EAGER_RECIPES: dict[str, dict[str, Any]] = {
    "LoRA on packed rows": {
        "precision": PLAIN,
        "memory_savers": EAGER,
        "data": {"dataset": "d", "max_length": 1280, "packing": True},
    },
    "LoRA": {"precision": PLAIN, "memory_savers": {**TILED, **EAGER}},
    "LoRA in fp16": {
        "precision": {**PLAIN, "dtype": "float16", "adapter_dtype": "float32"},
        "memory_savers": {**TILED, **EAGER},
    },
    "full": {"precision": PLAIN, "adaptation": FULL, "memory_savers": EAGER},
    "QLoRA": {"memory_savers": {**TILED, **EAGER}},
    "full in fp32": {"precision": {**PLAIN, "dtype": "float32"}, "adaptation": FULL, "memory_savers": EAGER},
}
CAP_RECIPES: dict[str, dict[str, Any]] = {
    f"{name}, {attention}": {
        "precision": PLAIN,
        **recipe,
        "memory_savers": {"attention": attention, **recipe.get("memory_savers", {})},
    }
    for attention in ("eager", "flash_attention_2")
    for name, recipe in {
        "LoRA": {},
        "QLoRA without dropout": {"adaptation": UNDROPPED, "precision": {}},
        "full": {"adaptation": FULL},
        "full without checkpointing": {"adaptation": FULL, "memory_savers": KEEPING},
    }.items()
}


def saving(*modules: str) -> dict[str, Any]:
    return {"adaptation": {"modules_to_save": list(modules)}}


SAVED_RECIPES: dict[str, dict[str, Any]] = {
    "head": {"precision": PLAIN, **saving("lm_head")},
    "head, loss in tiles": {"precision": PLAIN, **saving("lm_head"), "memory_savers": TILED},
    "head, loss in tiles, without checkpointing": {
        "precision": PLAIN,
        **saving("lm_head"),
        "memory_savers": {**TILED, **KEEPING},
    },
    "embedding": {"precision": PLAIN, **saving("embed_tokens")},
    "embedding, loss in tiles, with accumulation": {
        "precision": PLAIN,
        **saving("embed_tokens"),
        "memory_savers": TILED,
        "batch": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    },
    "embedding over nf4, loss in tiles": {**saving("embed_tokens"), "memory_savers": TILED},
    "embedding and head, loss in tiles": {
        "precision": PLAIN,
        **saving("embed_tokens", "lm_head"),
        "memory_savers": TILED,
    },
    "norms in bf16, loss in tiles": {
        "precision": {**PLAIN, "adapter_dtype": "bfloat16"},
        **saving("norm"),
        "memory_savers": TILED,
    },
    "embedding and head over nf4": saving("embed_tokens", "lm_head"),
}
DOUBTED: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA over nf4": ({"adaptation": {"use_dora": True}, "memory_savers": TILED}, "DoRA"),
    "DoRA on some matrices over nf4": (
        {
            "adaptation": {"use_dora": True, "target_modules": ["gate_proj", "up_proj"]},
            "memory_savers": {**TILED, **KEEPING},
        },
        "DoRA",
    ),
    "int8 without dropout": (
        {"precision": {"quantization": "int8"}, "adaptation": UNDROPPED, "memory_savers": TILED},
        "int8",
    ),
    "norms saved over nf4": ({**saving("norm"), "memory_savers": TILED}, "norms or layers"),
    "norms saved over nf4 without checkpointing": (
        {**saving("norm"), "memory_savers": {**TILED, **KEEPING}},
        "norms or layers",
    ),
    "adapters in another 16-bit type": (
        {
            "precision": {**PLAIN, "dtype": "float16", "adapter_dtype": "bfloat16"},
            "adaptation": UNDROPPED,
            "memory_savers": TILED,
            "batch": ONE_ROW["batch"],
        },
        "another 16-bit type",
    ),
    "adapter on the head": (
        {"precision": PLAIN, "adaptation": {"target_modules": ["q_proj", "lm_head"]}},
        "embedding or head",
    ),
}
GRID = [(architecture, recipe) for architecture in ARCHITECTURES for recipe in RECIPES] + [
    (architecture, recipe) for architecture in PLAINEST for recipe in FURTHER_RECIPES
]


DORA = {"use_dora": True, **UNDROPPED}
ON_QUERIES_AND_VALUES = {"target_modules": ["q_proj", "v_proj"]}
OTHERS = {
    "ministral": model("ministral", head_dim=128, **SHORT_WINDOW),
    "ministral3": model("ministral3", head_dim=128),
    "glm": model("glm", head_dim=128, attention_bias=True, pad_token_id=0),
    "glm4": model("glm4", head_dim=128, attention_bias=True, pad_token_id=0),
    "ernie4_5": model("ernie4_5", head_dim=128),
    "internlm3": model("internlm3", head_dim=128),
    "exaone4": model("exaone4", layer_types=["sliding_attention", "full_attention"], sliding_window=4096),
    "olmo2": model("olmo2"),
    "olmo3": model("olmo3", sliding_window=4096),
    "starcoder2": model(
        "starcoder2",
        hidden_act="gelu_pytorch_tanh",
        attention_dropout=0.1,
        residual_dropout=0.1,
        bos_token_id=0,
        eos_token_id=0,
    ),
}
"""Families that are like those above, but for what the recipe that each is tried with shows."""
LIKE_OTHERS = {
    ("ministral", "LoRA with eager attention"), ("ministral", "QLoRA"), ("ministral3", "LoRA with the loss in tiles"),
    ("glm", "LoRA with the loss in tiles"), ("glm", "full without checkpointing"), ("glm4", "LoRA with the loss in tiles"), ("glm4", "QLoRA"),
    ("glm4", "LoRA in int8"), ("ernie4_5", "LoRA with the loss in tiles"), ("ernie4_5", "full"), ("internlm3", "LoRA without checkpointing"),
    ("exaone4", "LoRA with the loss in tiles"), ("exaone4", "LoRA without checkpointing"), ("exaone4", "QLoRA"), ("exaone4", "full"),
    ("olmo2", "LoRA with the loss in tiles"), ("olmo2", "LoRA without checkpointing"), ("olmo2", "QLoRA"), ("olmo3", "LoRA with the loss in tiles"),
}  # fmt: skip
BY_ANALOGY = {("exaone4", "LoRA in int8"), ("starcoder2", "QLoRA"), ("starcoder2", "LoRA with the loss in tiles")}
LONE: dict[str, tuple[str, dict[str, Any]]] = {
    "DoRA keeps what matrix and adapter give, and scales it in fp32": (
        "llama", {"precision": PLAIN, "adaptation": DORA, "memory_savers": {**TILED, **KEEPING}},
    ),
    "the same where all is recomputed": ("mistral", {"precision": PLAIN, "adaptation": DORA, "memory_savers": TILED}),
    "with dropout DoRA's matrices run twice": (
        "llama", {"precision": PLAIN, "adaptation": {"use_dora": True}, "memory_savers": {**TILED, "attention": "flash_attention_2"}},
    ),
    "and keep a copy of what they ran with": (
        "qwen2", {"precision": PLAIN, "adaptation": {"use_dora": True}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "DoRA in bf16": (
        "llama", {"precision": {**PLAIN, "adapter_dtype": "bfloat16"}, "adaptation": DORA, "memory_savers": TILED},
    ),
    "DoRA of an fp32 model": ("llama", {"precision": FLOAT, "adaptation": {"use_dora": True}, "memory_savers": TILED}),
    "DoRA in bf16 over nf4": (
        "mistral", {"precision": {"adapter_dtype": "bfloat16"}, "adaptation": {"use_dora": True}, "memory_savers": TILED},
    ),
    "DoRA in fp32 over nf4 makes all that follows fp32": (
        "llama", {"adaptation": {"use_dora": True}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "DoRA over int8 restores in fp32": (
        "llama", {"precision": {"quantization": "int8"}, "adaptation": {"use_dora": True}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "weights decide where rows are few": (
        "llama without grouped heads",
        {"precision": PLAIN, "adaptation": {**DORA, "target_modules": ["gate_proj"]}, "memory_savers": TILED, "data": {"dataset": "d", "max_length": 128}},
    ),
    "a frozen last matrix in 4 bit is not recomputed": (
        "llama without grouped heads",
        {"adaptation": ON_QUERIES_AND_VALUES, "memory_savers": TILED},
    ),
    "recomputation is highest in the last matrix with an adapter": (
        "smollm3",
        {"precision": {"adapter_dtype": "bfloat16"}, "adaptation": {"target_modules": ["up_proj"], "r": 64}, "memory_savers": TILED},
    ),
    "the same beside fp32 adapters of a 16-bit model": (
        "mistral",
        {"precision": PLAIN, "adaptation": {"target_modules": ["up_proj"], "r": 64, **UNDROPPED}, "memory_savers": TILED},
    ),
    "a 4-bit product in forward restores the nested constants twice": (
        "llama without grouped heads",
        {"adaptation": {"target_modules": ["down_proj"], **UNDROPPED}, "memory_savers": TILED, **ONE_ROW},
    ),
    "autocast's copies of adapters are kept where nothing is recomputed": (
        "SmolLM2-135M",
        {"precision": PLAIN, "adaptation": {"r": 192}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "copies in the other 16-bit type, too": (
        "smollm3",
        {"precision": {"dtype": "float16", "adapter_dtype": "bfloat16"}, "adaptation": {"r": 64, **UNDROPPED}, "memory_savers": KEEPING},
    ),
    "a window's mask under SDPA in fp32 needs no plain products": (
        "Qwen2 with windows",
        {"precision": FLOAT, "adaptation": FULL, "memory_savers": KEEPING, **ONE_ROW},
    ),
    "an embedding saved in the other 16-bit type meets the layers in fp32": (
        "llama",
        {
            "precision": {"dtype": "float16", "adapter_dtype": "bfloat16"},
            "adaptation": {"modules_to_save": ["embed_tokens"], **ON_QUERIES_AND_VALUES, **UNDROPPED},
            "memory_savers": {**TILED, **KEEPING},
        },
    ),
    "eager masks are of the embedding's type": (
        "llama",
        {
            "precision": PLAIN,
            "adaptation": {"modules_to_save": ["embed_tokens"]},
            "memory_savers": {**TILED, **EAGER},
            "data": {"dataset": "d", "max_length": 1280, "packing": True},
        },
    ),
    "a head in fp32 gets its gradient when that of the logits has gone": (
        "gemma 2",
        {
            "precision": PLAIN, "adaptation": {"modules_to_save": ["lm_head"]}, "memory_savers": EAGER,
            "data": {"dataset": "d", "max_length": 512},
        },
    ),
    "experts are asked in fp32 by norms that train": (
        "qwen3_moe",
        {"precision": PLAIN, "adaptation": {"modules_to_save": ["norm"], **ON_QUERIES_AND_VALUES}, "memory_savers": TILED},
    ),
    "experts in fp32": ("qwen3_moe", {"precision": FLOAT, "adaptation": FULL}),
    "what flash attention gives is copied where heads are rotated in parts": (
        "phi3",
        {"precision": PLAIN, "adaptation": FULL, "memory_savers": {**TILED, **KEEPING, "attention": "flash_attention_2"}},
    ),
    "gate and up in one matrix, restored for short rows": (
        "phi3",
        {"adaptation": {"target_modules": ["gate_up_proj", "down_proj"]}, "memory_savers": TILED, **ONE_ROW,
         "data": {"dataset": "d", "max_length": 256}},
    ),
    "an adapter on a shared expert's last matrix only": (
        "qwen2_moe",
        {"adaptation": {"target_modules": ["down_proj"]}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "adapters on experts alone": (
        "mixtral",
        {"precision": PLAIN, "adaptation": {"target_modules": ["w2"], **UNDROPPED}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "forward that keeps all is highest where experts are weighed": (
        "qwen2_moe",
        {"adaptation": ON_ATTENTION, "memory_savers": {**TILED, **KEEPING, "attention": "flash_attention_2"},
         "data": {"dataset": "d", "max_length": 4096}},
    ),
    "an adapter on the router alone": (
        "qwen3_moe",
        {"precision": PLAIN, "adaptation": {"target_modules": ["gate"], **UNDROPPED}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "int8 multiplies to int32": (
        "mistral",
        {"precision": INT8, "adaptation": {"target_modules": ["k_proj"], **UNDROPPED}, "memory_savers": TILED},
    ),
    "int8 holds what it reads to the end of backward": (
        "llama",
        {"precision": INT8, "adaptation": {"target_modules": "all-linear"}, "memory_savers": {**TILED, **KEEPING}},
    ),
    "int8 of inputs in fp16": (
        "phi3",
        {"precision": {**INT8, "dtype": "float16"}, "adaptation": {"target_modules": ["o_proj"], **UNDROPPED}, "memory_savers": TILED},
    ),
    "scores that are dropped and no adapter on the values": (
        "seed_oss",
        {"adaptation": {"target_modules": ["k_proj"], **UNDROPPED}, "memory_savers": {**TILED, **KEEPING, **EAGER}},
    ),
    "scores that are dropped": ("seed_oss", {"precision": PLAIN, "adaptation": FULL, "memory_savers": {**KEEPING, **EAGER}}),
    "scores in forward that keeps all": (
        "qwen3",
        {"precision": PLAIN, "adaptation": FULL, "memory_savers": {**TILED, **KEEPING, **EAGER}, "data": {"dataset": "d", "max_length": 4096}},
    ),
}  # fmt: skip
"""Found among random recipes: each differs from the others here in one thing."""


def spec_of(recipe: str) -> JobSpec:
    return parse_spec(
        {
            "model": {"id": "m"},
            "data": {"dataset": "d", "max_length": 1280},
            "batch": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1},
            **(
                RECIPES
                | FURTHER_RECIPES
                | MIXTURE_RECIPES
                | {f"windows: {name}": it for name, it in WINDOW_RECIPES.items()}
                | {f"one row: {name}": it for name, it in UNPADDED_RECIPES.items()}
                | {f"eager: {name}": it for name, it in EAGER_RECIPES.items()}
                | CAP_RECIPES
                | SAVED_RECIPES
                | {name: it for name, (it, _) in DOUBTED.items()}
                | {name: it for name, (_, it) in LONE.items()}
            )[recipe],
        }
    )


@pytest.fixture(autouse=True)
def no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only live bytes are compared: the allocator's replay is left out, for time."""
    nothing = Replay(expandable_segments=False, active_peak_bytes=0, reserved_peak_bytes=0, smallest_budget_bytes=0)
    monkeypatch.setattr(tracer, "replayed", lambda *_: nothing)


def misses(found: Estimate, traced: Trace, tolerance: float = TOLERANCE) -> dict[str, str]:
    overhead = found.ledger["fragmentation"] + found.ledger["runtime_context"]
    formula = {site.name: site.total_bytes - overhead for site in found.sites} | {"peak": found.allocated_bytes}
    exact = {name: traced.sites[name] for name in SITES if name in traced.sites} | {"peak": traced.peak_bytes}
    return {
        name: f"{formula[name]:,} for {count:,}"
        for name, count in exact.items()
        if abs(formula[name] - count) > tolerance * traced.peak_bytes
    }


def compare(architecture: str, recipe: str) -> None:
    config, spec = (ARCHITECTURES | MIXTURES | OTHERS)[architecture], spec_of(recipe)
    traced = tracer.trace(spec, config)
    assert misses(estimate(spec, architecture_from_config(config)), traced) == {}


@pytest.mark.parametrize(("architecture", "recipe"), GRID)
def test_every_site_agrees(architecture: str, recipe: str) -> None:
    compare(architecture, recipe)


@pytest.mark.parametrize(("architecture", "recipe"), sorted(LIKE_OTHERS))
def test_families_like_others_agree(architecture: str, recipe: str) -> None:
    compare(architecture, recipe)


@pytest.mark.parametrize(("architecture", "recipe"), sorted(BY_ANALOGY))
def test_families_by_analogy_are_within_what_is_told(architecture: str, recipe: str) -> None:
    config, spec = OTHERS[architecture], spec_of(recipe)
    known = architecture_from_config(config)
    percent = max(doubt.percent for doubt in doubts(spec, known, DEFAULT))
    assert "peak" not in misses(estimate(spec, known), tracer.trace(spec, config), percent / 100)


@pytest.mark.parametrize("name", LONE)
def test_single_moments_agree(name: str) -> None:
    config, spec = {**ARCHITECTURES, **WINDOWS, **MIXTURES, "gemma 2": GEMMA2}[LONE[name][0]], spec_of(name)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("recipe", UNPADDED_RECIPES)
@pytest.mark.parametrize("architecture", [*PLAINEST, "gemma"])
def test_a_single_row_needs_no_mask(architecture: str, recipe: str) -> None:
    """All the others are batches of rows padded to the longest: a mask under SDPA, and k and v repeated for every head of q."""
    compare(architecture, f"one row: {recipe}")


@pytest.mark.parametrize("recipe", ["LoRA without checkpointing", "QLoRA without checkpointing", "full"])
def test_a_single_head_of_keys_and_values_is_not_repeated_for_a_single_row(recipe: str) -> None:
    """Eager attention multiplies by a view, as all heads of q read the same; of several rows it makes copies."""
    values = spec_of(f"one row: {recipe}" if recipe in UNPADDED_RECIPES else recipe).model_dump()
    values["batch"] = ONE_ROW["batch"]
    values["memory_savers"] |= {"attention": "eager", "fused_loss": True}
    config, spec = ARCHITECTURES["gemma"], parse_spec(values)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("targets", [["down_proj"], ["gate_proj", "up_proj", "down_proj"], ["o_proj"], ["up_proj"]])
@pytest.mark.parametrize(("attention", "dropout"), [("flash_attention_2", 0.05), ("eager", 0.0)])
def test_nothing_is_kept_before_the_first_adapter(targets: list[str], attention: str, dropout: float) -> None:
    """Without checkpointing. Backward of the first layer ends there, too."""
    values = spec_of("LoRA without checkpointing").model_dump()
    values["adaptation"] |= {"target_modules": targets, "lora_dropout": dropout}
    values["memory_savers"] |= {"attention": attention, "fused_loss": True}
    config, spec = ARCHITECTURES["llama"], parse_spec(values)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("targets", [["q_proj", "k_proj"], ["k_proj"], ["q_proj", "v_proj"], ["v_proj"]])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_first_layer_keeps_no_scores_for_gradients_that_nobody_asks(targets: list[str], attention: str) -> None:
    values = spec_of("LoRA without checkpointing").model_dump()
    values["adaptation"] |= {"target_modules": targets, "lora_dropout": 0.0}
    values["memory_savers"] |= {"attention": attention, "fused_loss": True}
    for name in ("llama", "qwen3"):
        config, spec = ARCHITECTURES[name], parse_spec(values)
        assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("architecture", MIXTURES)
@pytest.mark.parametrize("recipe", MIXTURE_RECIPES)
def test_mixtures_of_experts_agree(architecture: str, recipe: str) -> None:
    compare(architecture, recipe)


@pytest.mark.parametrize("recipe", WINDOW_RECIPES)
@pytest.mark.parametrize("name", WINDOWS)
def test_sliding_windows_agree(name: str, recipe: str) -> None:
    """Both rotary tables of Gemma 3 included."""
    spec = spec_of(f"windows: {recipe}")
    found, traced = estimate(spec, architecture_from_config(WINDOWS[name])), tracer.trace(spec, WINDOWS[name])
    assert misses(found, traced) == {}
    assert "peak" not in misses(found, traced)


@pytest.mark.parametrize("recipe", EAGER_RECIPES)
@pytest.mark.parametrize("architecture", ["llama", "llama without grouped heads", "gemma", "granite"])
def test_eager_attention_with_the_loss_in_tiles_agrees(architecture: str, recipe: str) -> None:
    """Forward is highest inside a layer then: at the softmax, or where the layer still holds the weights that attention handed out."""
    compare(architecture, f"eager: {recipe}")


@pytest.mark.parametrize("recipe", ["adapters on attention", "adapters on attention without checkpointing", "full"])
@pytest.mark.parametrize("name", ALTERNATING)
def test_dense_layers_among_mixtures_agree(name: str, recipe: str) -> None:
    config, spec = ALTERNATING[name], spec_of(recipe)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("recipe", CAP_RECIPES)
def test_soft_caps_agree(recipe: str) -> None:
    spec = spec_of(recipe)
    assert misses(estimate(spec, architecture_from_config(GEMMA2)), tracer.trace(spec, GEMMA2)) == {}


@pytest.mark.parametrize("recipe", ["QLoRA", "QLoRA without dropout", "QLoRA without checkpointing"])
def test_matrices_that_a_quantized_checkpoint_leaves_whole_agree(recipe: str) -> None:
    told = {
        "quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
        "llm_int8_skip_modules": ["lm_head", "model.layers.1.mlp", "o_proj"],
    }  # fmt: skip
    config, spec = {**ARCHITECTURES["llama"], "quantization_config": told}, spec_of(recipe)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("recipe", SAVED_RECIPES)
def test_modules_trained_in_full_agree(recipe: str) -> None:
    """An fp32 embedding begins the stream in fp32: norms, residuals and what the head reads are twice as wide."""
    compare("llama", recipe)


@pytest.mark.parametrize("name", ["gemma", "granite", "Gemma 3"])
def test_an_embedding_trained_in_full_agrees(name: str) -> None:
    """Where embeddings or halves of a layer are multiplied, or normed before they are added."""
    config, spec = (ARCHITECTURES | WINDOWS)[name], spec_of("embedding, loss in tiles, with accumulation")
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("recipe", ["norms saved over nf4", "norms saved over nf4 without checkpointing"])
def test_norms_that_give_the_type_that_they_read_agree(recipe: str) -> None:
    """Gemma's, whatever the type of their weight: the stream stays of 16 bit."""
    compare("gemma", recipe)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_forward_may_be_highest_inside_the_last_matrix(attention: str) -> None:
    """A wide MLP under adapters in fp32 whose loss runs in tiles: the product, cast to fp32, beside all that is kept."""
    values = spec_of("LoRA without checkpointing").model_dump()
    values["adaptation"] |= {"target_modules": ["down_proj"], "lora_dropout": 0.0}
    values["memory_savers"] |= {"attention": attention, "fused_loss": True}
    config, spec = ARCHITECTURES["gemma"], parse_spec(values)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("recipe", ["LoRA", "QLoRA", "QLoRA without dropout", "full"])
@pytest.mark.parametrize(
    "stack", ["transformers-4.48", "transformers-4.48-no-autocast", "transformers-4.48-norms-fp32", "kbit-prepared"]
)
def test_older_versions_agree(recipe: str, stack: str) -> None:
    """Their checkpointing recomputes a layer to its end and holds its output; norms or all that is left may be fp32."""
    config, spec = ARCHITECTURES["llama"], spec_of(recipe)
    found = estimate(spec, architecture_from_config(config), stack=STACKS[stack])
    assert misses(found, tracer.trace(spec, config, stack=STACKS[stack])) == {}


@pytest.mark.parametrize("recipe", ["LoRA without checkpointing", "QLoRA without checkpointing", "full"])
def test_the_last_norm_is_higher_than_the_loss_in_tiles_of_many_tokens(recipe: str) -> None:
    values = spec_of(recipe).model_dump()
    values["memory_savers"] |= {"attention": "flash_attention_2", "fused_loss": True}
    values["data"] |= {"max_length": 8192}
    config, spec = ARCHITECTURES["llama"], parse_spec(values)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


def test_masks_that_no_layer_takes_go_when_forward_ends() -> None:
    """Qwen2-MoE always makes two, also where no layer has a window."""
    values = spec_of("LoRA with the loss in tiles").model_dump()
    values["adaptation"] |= {"target_modules": ["q_proj"]}
    values["memory_savers"] |= {"attention": "eager"}
    config, spec = MIXTURES["qwen2_moe"], parse_spec(values)
    assert misses(estimate(spec, architecture_from_config(config)), tracer.trace(spec, config)) == {}


@pytest.mark.parametrize("recipe", DOUBTED)
def test_known_misses_are_told_and_within_what_is_told(recipe: str) -> None:
    config, spec = ARCHITECTURES["llama"], spec_of(recipe)
    architecture = architecture_from_config(config)
    found, told = estimate(spec, architecture), list(doubts(spec, architecture, DEFAULT))
    assert any(DOUBTED[recipe][1] in doubt.reason for doubt in told)
    assert all(any(doubt.reason in note for note in found.assumptions) for doubt in told)
    percent = max(doubt.percent for doubt in told)
    assert "peak" not in misses(found, tracer.trace(spec, config), percent / 100)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"]])
def test_dora_without_autocast_agrees(targets: str | list[str]) -> None:
    """The adapter's outputs, which it scales, are of the adapter's type then."""
    values = spec_of("LoRA without checkpointing").model_dump()
    values["adaptation"] |= {**DORA, "target_modules": targets}
    config, spec, stack = ARCHITECTURES["llama"], parse_spec(values), STACKS["transformers-4.48-no-autocast"]
    assert (
        misses(estimate(spec, architecture_from_config(config), stack=stack), tracer.trace(spec, config, stack=stack))
        == {}
    )


def test_attention_without_soft_caps_is_refused() -> None:
    """transformers refuses SDPA for Gemma 2 when it builds the model; so does the estimate, with the remedy."""
    with pytest.raises(InvalidInput, match="eager or flash_attention_2"):
        estimate(spec_of("LoRA"), architecture_from_config(GEMMA2))
    with pytest.raises(InvalidInput, match=r"memory_savers\.attention"):
        tracer.trace(spec_of("LoRA"), GEMMA2)


@pytest.mark.slow
def test_full_depth_agrees() -> None:
    """Qwen2.5-7B's and Llama-3.1-8B's own shapes, all layers."""
    from tunescope.memory.catalogue import catalogue, catalogue_config

    for name in ("Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"):
        for recipe in ("LoRA", "QLoRA", "full"):
            spec = spec_of(recipe)
            assert misses(estimate(spec, catalogue(name)), tracer.trace(spec, catalogue_config(name))) == {}
