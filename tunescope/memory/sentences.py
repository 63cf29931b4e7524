"""One sentence per section of an explanation, made from the settings that differ and the ledger terms that moved."""

from typing import TYPE_CHECKING

from tunescope.memory.differences import in_words
from tunescope.memory.ledger import Category, MemoryLedger
from tunescope.units import MIB, format_bytes

if TYPE_CHECKING:
    from tunescope.memory.explain import Subject

SITES = {
    "load": ("loading", "加载"),
    "forward_start": ("the start of forward", "前向开始"),
    "forward_end": ("the end of forward", "前向结束"),
    "loss_backward": ("the loss's backward", "损失反向"),
    "layer_backward_last": ("backward of the last layer", "最后一层反向"),
    "layer_backward_first": ("backward of the first layer", "第一层反向"),
    "embedding_backward": ("backward of the embedding", "嵌入层反向"),
    "optimizer_step": ("the optimizer step", "优化器更新"),
}
GROUPS: tuple[tuple[tuple[Category, ...], str, str], ...] = (
    (("weights", "quantization_state"), "weights", "权重"),
    (("adapters",), "adapters", "适配器"),
    (("gradients",), "gradients", "梯度"),
    (("optimizer_states",), "{} states", "{}状态"),
    (("master_weights",), "fp32 masters", "fp32 主权重"),
    (("activations",), "activations", "激活"),
    (("logits_and_loss",), "logits and loss", "logits 与损失"),
    (("workspace",), "temporaries", "临时张量"),
    (("communication",), "communication buffers", "通信缓冲"),
    (("fragmentation",), "the allocator's cache", "分配器缓存"),
    (("runtime_context",), "CUDA context", "CUDA 上下文"),
)
TRAINING = ("adapters", "gradients", "optimizer_states", "master_weights")
"""Terms that follow the number of trained parameters: told as one."""


def site_name(site: str, language: str) -> str:
    return SITES[site][language == "zh"]


def because(
    section: str, a: "Subject", b: "Subject", trained: tuple[int, int], moved: MemoryLedger, language: str
) -> str:
    """The sentence for one section; ``moved`` is how the ledger changes with it (b minus a), ``trained`` parameters of a, b."""
    zh = language == "zh"
    what = in_words(section, a, b, trained, zh)
    if not what:
        return unchanged(section, a, b, language)
    terms = _terms(moved, _adam(a, b), zh)
    if not terms:
        return f"{what}：显存几乎不变。" if zh else f"{what}: hardly any memory."
    listed = ("，" if zh else ", ").join(_term(count, names, zh) for count, names in terms)
    return f"{what}：{listed}。" if zh else f"{what}: {listed}."


def unchanged(section: str, a: "Subject", b: "Subject", language: str) -> str:
    """For a section in which nothing that costs memory differs."""
    zh = language == "zh"
    if getattr(a.spec, section) == getattr(b.spec, section):
        return "两边相同。" if zh else "The same on both sides."
    return "只有不影响显存的设置不同。" if zh else "Only settings that cost no memory differ."


def _adam(a: "Subject", b: "Subject") -> bool:
    return all("adamw" in side.spec.optimizer.name for side in (a, b))


def _terms(moved: MemoryLedger, adam: bool, zh: bool) -> list[tuple[int, str]]:
    """The three largest movements as (bytes, names), those of training with one sign told together."""
    found: list[tuple[int, list[str]]] = []
    for categories, english, chinese in GROUPS:
        count = sum(moved[category] for category in categories)
        if abs(count) < MIB:
            continue
        optimizer = ("Adam", "Adam ") if adam else ("optimizer", "优化器")
        name = (chinese if zh else english).format(optimizer[zh])
        if categories[0] in TRAINING and found and found[-1][1][0] == "training" and found[-1][0] * count > 0:
            found[-1] = found[-1][0] + count, [*found[-1][1], name]
        elif categories[0] in TRAINING:
            found.append((count, ["training", name]))
        else:
            found.append((count, ["", name]))
    found.sort(key=lambda term: -abs(term[0]))
    return [(count, _list(names[1:], zh)) for count, names in found[:3]]


def _list(names: list[str], zh: bool) -> str:
    if zh:
        return "、".join(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _term(count: int, names: str, zh: bool) -> str:
    size = format_bytes(abs(count))
    if zh:
        return f"{names}{'多' if count > 0 else '少'} {size}"
    return f"{size} {'more' if count > 0 else 'less'} for {names}"
