"""What differs between two sides of an explanation, section by section: the settings that cost memory, and their words."""

from typing import TYPE_CHECKING, Any

from tunescope.spec import JobSpec

if TYPE_CHECKING:
    from tunescope.memory.explain import Subject

FREE = frozenset(
    {
        "dataset", "eval_fraction", "assistant_only_loss", "learning_rate", "lr_scheduler_type", "warmup_ratio", "weight_decay",
        "max_grad_norm", "lora_alpha", "use_rslora",
    }
)  # fmt: skip
"""Settings that cost no memory."""
OPTIMIZERS = {
    "adamw_torch": "AdamW", "adamw_torch_fused": "fused AdamW", "adamw_8bit": "8-bit AdamW", "paged_adamw_32bit": "paged AdamW",
    "paged_adamw_8bit": "paged 8-bit AdamW", "adafactor": "Adafactor", "sgd": "SGD",
}  # fmt: skip
STRATEGIES = {"ddp": "DDP", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp": "FSDP"}
ATTENTION = {"eager": "eager attention", "sdpa": "sdpa", "flash_attention_2": "FlashAttention-2"}
WEIGHTS = {"nf4": "nf4", "fp4": "fp4", "int8": "int8", "gptq-int4": "GPTQ int4", "gptq-int8": "GPTQ int8"}
FUSED_QKV = ("c_attn", "qkv_proj", "W_pack", "query_key_value")


def costs(spec: JobSpec, section: str) -> dict[str, Any]:
    """The fields of a section that can cost memory, without those that another field makes meaningless."""
    values = {name: value for name, value in getattr(spec, section).model_dump().items() if name not in FREE}
    if section == "adaptation" and spec.adaptation.method == "full":
        return {"method": "full"}
    if section == "precision":
        if spec.precision.quantization not in ("nf4", "fp4"):
            values.pop("double_quant")
        values.pop("adapter_dtype" if spec.adaptation.method == "full" else "master_weights")
    return values


def changed(section: str, a: JobSpec, b: JobSpec) -> dict[str, tuple[Any, Any]]:
    """Memory-relevant fields of a section that differ, as (a's value, b's value)."""
    left, right = costs(a, section), costs(b, section)
    names = [name for name in getattr(a, section).model_dump() if name in left or name in right]
    return {
        name: (getattr(getattr(a, section), name), getattr(getattr(b, section), name))
        for name in names
        if left.get(name) != right.get(name)
    }


def targets_in_words(subject: "Subject", zh: bool) -> str:
    """``q, k, v`` for a fused projection or its parts, ``all linear layers``, else the names."""
    wanted = subject.spec.adaptation.target_modules
    linears = [linear for layer in subject.architecture.layers for linear in layer.linears]
    if isinstance(wanted, str) or all(any(linear.matches(target) for target in wanted) for linear in linears):
        return "所有线性层" if zh else "all linear layers"
    names: list[str] = []
    for target in wanted:
        short = target.split(".")[-1]
        names += ["q", "k", "v"] if short in FUSED_QKV else [short.removesuffix("_proj")]
    return ", ".join(names)


def in_words(section: str, a: "Subject", b: "Subject", zh: bool) -> str:
    """What changes in a section from a to b, or "" where nothing that costs memory does."""
    if section == "model":
        left, right = a.architecture, b.architecture
        sizes = [f"{model.name} ({count_in_words(model.parameter_count)})" for model in (left, right)]
        return _instead(sizes[1], sizes[0], zh)
    if section == "libraries":
        return _instead(b.stack.title, a.stack.title, zh) + _padding(a, b, zh)
    if section == "device":
        return _instead(b.device.name, a.device.name, zh)
    if section == "parallelism":
        return _instead(_gpus(b.spec, zh), _gpus(a.spec, zh), zh) if changed(section, a.spec, b.spec) else ""
    phrases = [_phrase(name, old, new, zh) for name, (old, new) in changed(section, a.spec, b.spec).items()]
    if section == "data" and a.lengths != b.lengths:
        phrases.append("行长度不同" if zh else "other row lengths")
    return ("，" if zh else ", ").join(phrases)


def _instead(new: str, old: str, zh: bool) -> str:
    return f"{new}，而非 {old}" if zh else f"{new} instead of {old}"


def count_in_words(parameters: int) -> str:
    """Parameters as people say them: 4.2 M, 143 M, 7.72 B."""
    if parameters >= 1e9:
        return f"{parameters / 1e9:.2f} B"
    return f"{parameters / 1e6:.0f} M" if parameters >= 1e7 else f"{parameters / 1e6:.1f} M"


def _padding(a: "Subject", b: "Subject", zh: bool) -> str:
    """Why two stacks differ with the length: one pads to the longest row, and the allocator keeps blocks of every length."""
    if (a.stack.rows is None) == (b.stack.rows is None):
        return ""
    if zh:
        return f"（{'B' if b.stack.rows else 'A'} 只填充到批内最长行，分配器会留下各种长度的块）"
    varying = "B" if b.stack.rows else "A"
    return f" ({varying} pads to the longest row of a batch only, and the allocator keeps blocks of every length)"


def _gpus(spec: JobSpec, zh: bool) -> str:
    chosen = spec.parallelism
    offload = ""
    if chosen.offload != "none":
        moved = {"optimizer": ("optimizer in host memory", "优化器放在主机内存"), "all": ("weights and optimizer in host memory", "权重与优化器放在主机内存")}  # fmt: skip
        offload = ("，" if zh else ", ") + moved[chosen.offload][zh]
    if chosen.strategy == "none":
        return ("单卡不分片" if zh else "one GPU, nothing sharded") + offload
    if chosen.gpus == 1:
        return (
            f"{STRATEGIES[chosen.strategy]}（单卡）" if zh else f"{STRATEGIES[chosen.strategy]} on one GPU"
        ) + offload
    where = f"{chosen.gpus} 卡 {STRATEGIES[chosen.strategy]}" if zh else f"{STRATEGIES[chosen.strategy]} over {chosen.gpus} GPUs"  # fmt: skip
    return where + offload


def _phrase(name: str, old: Any, new: Any, zh: bool) -> str:
    if isinstance(new, bool):
        return _switch(name, new, zh)
    words = {
        "quantization": ("{} weights", "{} 权重"),
        "dtype": ("{} computation", "以 {} 计算"),
        "adapter_dtype": ("adapters in {}", "适配器为 {}"),
        "per_device_train_batch_size": ("micro batch {}", "微批 {}"),
        "gradient_accumulation_steps": ("accumulation {}", "梯度累积 {}"),
        "max_length": ("rows of up to {} tokens", "每行最多 {} 个词元"),
        "name": ("{}", "{}"),
        "attention": ("{}", "{}"),
    }
    names = {"quantization": WEIGHTS, "name": OPTIMIZERS, "attention": ATTENTION}.get(name, {})
    left, right = (names.get(value, "16-bit" if name == "quantization" else str(value)) for value in (old, new))
    return _instead(words[name][zh].format(right), left, zh)


def _switch(name: str, on: bool, zh: bool) -> str:
    words = {
        "double_quant": ("double quantization", "双重量化"),
        "master_weights": ("fp32 master weights", "fp32 主权重"),
        "packing": ("packing", "打包"),
        "gradient_checkpointing": ("gradient checkpointing", "梯度检查点"),
        "fused_loss": ("the loss in tiles", "分块计算损失"),
    }
    if name == "fused_loss" and not on and not zh:
        return "all logits at once"
    if zh:
        return ("使用 " if on else "不用 ") + words[name][1]
    return ("with " if on else "without ") + words[name][0]
