"""One sentence per section of an explanation, made from the settings that differ and the ledger terms that moved."""

from typing import TYPE_CHECKING, Any, Literal

from tunescope.memory.estimate import Estimate
from tunescope.memory.ledger import CATEGORIES, Category, MemoryLedger
from tunescope.units import MIB, format_bytes

if TYPE_CHECKING:
    from tunescope.memory.explain import Subject

SITES = {
    "load": ("loading", "加载"),
    "forward_end": ("the end of forward", "前向结束"),
    "loss_backward": ("the loss's backward", "损失反向"),
    "layer_backward_last": ("backward of the last layer", "最后一层反向"),
    "layer_backward_first": ("backward of the first layer", "第一层反向"),
    "embedding_backward": ("backward of the embedding", "嵌入层反向"),
    "optimizer_step": ("the optimizer step", "优化器更新"),
}
CATEGORY_NAMES = {
    "weights": ("weights", "权重"),
    "quantization_state": ("quantization constants", "量化常数"),
    "adapters": ("adapters", "适配器"),
    "gradients": ("gradients", "梯度"),
    "optimizer_states": ("optimizer states", "优化器状态"),
    "master_weights": ("fp32 master weights", "fp32 主权重"),
    "activations": ("activations", "激活"),
    "logits_and_loss": ("logits and loss", "logits 与损失"),
    "workspace": ("workspace", "工作区"),
    "communication": ("communication buffers", "通信缓冲"),
    "fragmentation": ("allocator cache", "分配器缓存"),
    "runtime_context": ("CUDA context", "CUDA 上下文"),
}


def site_name(site: str, language: str) -> str:
    return SITES[site][language == "zh"]


def because(
    section: str, a: "Subject", b: "Subject", before: Estimate, after: Estimate, moved: MemoryLedger, differs: bool,
    language: Literal["en", "zh"],
) -> str:  # fmt: skip
    """The sentence for one section; ``moved`` is how the ledger changes with it (b minus a)."""
    zh = language == "zh"
    if not differs:
        return "两边相同。" if zh else "The same on both sides."
    what = _what(section, a, b, before, after, zh)
    terms: list[Category] = [name for name in CATEGORIES if abs(moved[name]) >= MIB]
    terms.sort(key=lambda name: -abs(moved[name]))
    terms = terms[:3]
    if not terms:
        return f"{what}：显存几乎不变。" if zh else f"{what}: hardly any memory."
    if zh:
        listed = "，".join(
            f"{CATEGORY_NAMES[name][1]}{'多' if moved[name] > 0 else '少'} {format_bytes(abs(moved[name]))}"
            for name in terms
        )
        return f"{what}：{listed}。"
    listed = ", ".join(
        f"{format_bytes(abs(moved[name]))} {'more' if moved[name] > 0 else 'less'} for {CATEGORY_NAMES[name][0]}"
        for name in terms
    )
    return f"{what}: {listed}."


def _what(section: str, a: "Subject", b: "Subject", before: Estimate, after: Estimate, zh: bool) -> str:
    if section == "model":
        return f"{a.architecture.name} → {b.architecture.name}"
    if section == "libraries":
        return f"{a.stack.title} → {b.stack.title}"
    if section == "device":
        return f"{a.device.name} → {b.device.name}"
    if section == "adaptation":
        return _adaptation(a, b, before, after, zh)
    return _changes(getattr(a.spec, section).model_dump(), getattr(b.spec, section).model_dump(), a, b, zh)


def _adaptation(a: "Subject", b: "Subject", before: Estimate, after: Estimate, zh: bool) -> str:
    left, right = _millions(before.trainable_parameters), _millions(after.trainable_parameters)
    if zh:
        return f"{_method(b, True)}训练 {right} 参数，而非 {left}（{_method(a, True)}）"
    return f"{_method(b, False)} trains {right} parameters instead of {left} ({_method(a, False)})"


def _method(subject: "Subject", zh: bool) -> str:
    chosen = subject.spec.adaptation
    if chosen.method == "full":
        return "全参数微调" if zh else "full fine-tuning"
    targets = chosen.target_modules if isinstance(chosen.target_modules, str) else ", ".join(chosen.target_modules)
    saved = f" + {', '.join(chosen.modules_to_save)}" if chosen.modules_to_save else ""
    return f"LoRA r={chosen.r}（{targets}{saved}）" if zh else f"LoRA r={chosen.r} on {targets}{saved}"


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"


def _changes(left: dict[str, Any], right: dict[str, Any], a: "Subject", b: "Subject", zh: bool) -> str:
    skipped = {
        "dataset",
        "learning_rate",
        "lr_scheduler_type",
        "warmup_ratio",
        "weight_decay",
        "max_grad_norm",
        "eval_fraction",
    }
    changed = [
        f"{name} {left[name]} → {right[name]}" for name in left if left[name] != right[name] and name not in skipped
    ]
    if a.lengths != b.lengths and "max_length" in left:
        changed.append("行长度不同" if zh else "other row lengths")
    if changed:
        return ", ".join(changed)
    return "只有不影响显存的设置不同" if zh else "only settings that cost no memory differ"
