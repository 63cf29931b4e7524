"""What differs between two sides of an explanation, section by section: the settings that cost memory, and their words."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunescope.spec import JobSpec

if TYPE_CHECKING:
    from tunescope.memory.explain import Subject

FREE = {
    "dataset", "eval_fraction", "assistant_only_loss", "learning_rate", "lr_scheduler_type", "warmup_ratio", "max_grad_norm",
    "lora_alpha", "use_rslora",
}  # fmt: skip
"""Settings that no estimate reads."""
OPTIMIZERS = {
    "adamw_torch": "AdamW", "adamw_torch_fused": "fused AdamW", "adamw_8bit": "8-bit AdamW", "paged_adamw_32bit": "paged AdamW",
    "paged_adamw_8bit": "paged 8-bit AdamW", "adafactor": "Adafactor", "sgd": "SGD",
}  # fmt: skip
STRATEGIES = {"ddp": "DDP", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp": "FSDP"}
ATTENTION = {"eager": "eager attention", "sdpa": "sdpa", "flash_attention_2": "FlashAttention-2"}
WEIGHTS = {"nf4": "nf4", "fp4": "fp4", "int8": "int8", "gptq-int4": "GPTQ int4", "gptq-int8": "GPTQ int8"}
FUSED_QKV = ("c_attn", "qkv_proj", "W_pack", "query_key_value")


_READ_AS: dict[str, Callable[[Any], Any]] = {
    "lora_dropout": bool,
    "weight_decay": bool,
    "target_modules": lambda names: names if isinstance(names, str) else frozenset(names),
}
"""Settings of which an estimate reads less than their value: whether they are on, or names in any order."""


def read_by_estimates(spec: JobSpec, section: str) -> dict[str, Any]:
    """The settings of a section as estimates read them. Sections that are equal here can never differ in bytes."""
    values = getattr(spec, section).model_dump(exclude=FREE)
    return {name: _READ_AS[name](value) if name in _READ_AS else value for name, value in values.items()}


def changed(section: str, a: JobSpec, b: JobSpec) -> dict[str, tuple[Any, Any]]:
    """The settings of a section that differ and are worth a word, as (a's value, b's value).

    Without those that another setting makes meaningless in every mixture of the two sides.
    """
    left, right = read_by_estimates(a, section), read_by_estimates(b, section)
    return {
        name: (getattr(getattr(a, section), name), getattr(getattr(b, section), name))
        for name in left
        if left[name] != right[name] and _has_meaning(name, a, b)
    }


def _has_meaning(name: str, a: JobSpec, b: JobSpec) -> bool:
    """Settings of one section switch together: both sides must give meaning to what depends on a neighbour, one side to the rest."""
    methods = {side.adaptation.method for side in (a, b)}
    if name == "double_quant":
        return all(side.precision.quantization in ("nf4", "fp4") for side in (a, b))
    if name == "weight_decay":
        return all(side.optimizer.name == "sgd" for side in (a, b))
    if name in ("r", "lora_dropout", "target_modules", "modules_to_save", "use_dora"):
        return methods == {"lora"}
    if name == "adapter_dtype":
        return "lora" in methods
    if name == "master_weights":
        return "full" in methods
    return True


def _targets(subject: "Subject", zh: bool) -> str:
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


def in_words(section: str, a: "Subject", b: "Subject", trained: tuple[int, int], zh: bool) -> str:
    """What changes in a section from a to b, or "" where nothing that costs memory does. ``trained``: parameters of a, b."""
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
    if section == "adaptation":
        return _adaptation(a, b, trained, zh) if changed(section, a.spec, b.spec) else ""
    phrases = [_phrase(name, old, new, zh) for name, (old, new) in changed(section, a.spec, b.spec).items()]
    if section == "data" and a.lengths != b.lengths:
        phrases.append("行长度不同" if zh else "other row lengths")
    return ("，" if zh else ", ").join(phrases)


def _adaptation(a: "Subject", b: "Subject", trained: tuple[int, int], zh: bool) -> str:
    left, right = count_in_words(trained[0]), count_in_words(trained[1])
    dropout = "lora_dropout" in changed("adaptation", a.spec, b.spec)
    old, new = _method(a, dropout, zh), _method(b, dropout, zh)
    if left == right:
        return _instead(new, old, zh)
    if zh:
        return f"{new}训练 {right} 参数，而非 {left}（{old}）"
    return f"{new} trains {right} parameters instead of {left} ({old})"


def _method(subject: "Subject", dropout: bool, zh: bool) -> str:
    """``dropout``: whether to say if there is some."""
    chosen = subject.spec.adaptation
    if chosen.method == "full":
        return "全参数微调" if zh else "full fine-tuning"
    kind = "DoRA" if chosen.use_dora else "LoRA"
    saved = ""
    if chosen.modules_to_save:
        names = ", ".join(chosen.modules_to_save)
        saved = f"（另完整训练 {names}）" if zh else f" and {names} in full"
    if dropout:
        on = chosen.lora_dropout > 0
        saved += (
            ("（有 dropout）" if on else "（无 dropout）") if zh else (" and dropout" if on else " without dropout")
        )
    targets = _targets(subject, zh)
    return f"{kind}（{targets}，r={chosen.r}）{saved}" if zh else f"{kind} on {targets} with r={chosen.r}{saved}"


def _instead(new: str, old: str, zh: bool) -> str:
    return f"{new}，而非 {old}" if zh else f"{new} instead of {old}"


def count_in_words(parameters: int) -> str:
    """Parameters as people say them: 4.2 M, 143 M, 7.72 B."""
    if parameters >= 1e9:
        return f"{parameters / 1e9:.2f} B"
    return f"{parameters / 1e6:.0f} M" if parameters >= 1e7 else f"{parameters / 1e6:.1f} M"


def _padding(a: "Subject", b: "Subject", zh: bool) -> str:
    """Why two stacks differ with the length: one pads to the longest row, and the allocator keeps blocks of every length."""
    if (a.stack.rows is None) == (b.stack.rows is None) or not any(_goes_by_stack(side) for side in (a, b)):
        return ""
    if zh:
        return f"（{'B' if b.stack.rows else 'A'} 只填充到批内最长行，分配器会留下各种长度的块）"
    varying = "B" if b.stack.rows else "A"
    return f" ({varying} pads to the longest row of a batch only, and the allocator keeps blocks of every length)"


def _goes_by_stack(side: "Subject") -> bool:
    """Whether this side's row lengths are its stack's: it has none of its own, and they are not filled up by packing."""
    return side.lengths is None and not side.spec.data.packing


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
        "weight_decay": ("weight decay {}", "权重衰减 {}"),
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
        "expandable_segments": ("segments that can expand", "可扩展内存段"),
    }
    if name == "fused_loss" and not on and not zh:
        return "all logits at once"
    if zh:
        return ("使用 " if on else "不用 ") + words[name][1]
    return ("with " if on else "without ") + words[name][0]
