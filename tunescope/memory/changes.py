"""Changes that can save memory: when each applies, what it is called, and its price in speed or quality. Data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunescope.memory.effective_batch import effective_batch, smaller_micro_batch
from tunescope.memory.sharding import can_divide
from tunescope.spec import LIMITS, JobSpec

Patch = dict[str, Any]
"""Dotted fields of a spec and their new values."""


@dataclass(frozen=True)
class Change:
    """A change one could make. ``cost`` orders them: 1 costs nothing, 5 changes what is learned. Texts: English, Chinese."""

    id: str
    cost: int
    title: tuple[str, str]
    price: tuple[str, str]
    patch: Patch


@dataclass(frozen=True)
class _Option:
    id: str
    cost: int
    applies: Callable[[JobSpec], bool]
    patch: Callable[[JobSpec], Patch] | Patch
    title: tuple[str, str]
    price: tuple[str, str]


def changes_for(spec: JobSpec, no_dropout: bool = False) -> list[Change]:
    """Every single change that could save memory for this spec, whether or not it does.

    ``no_dropout``: adapters on this model's linear layers take none, so that a change to LoRA turns it off.
    """
    found: list[Change] = []
    for option in _OPTIONS:
        if option.applies(spec):
            patch = option.patch(spec) if callable(option.patch) else option.patch
            if no_dropout and patch.get("adaptation.method") == "lora" and spec.adaptation.lora_dropout:
                patch = {**patch, "adaptation.lora_dropout": 0.0}
            words = _words(patch) | {"effective": f"{effective_batch(spec):,}"}
            title = option.title[0].format(**words), option.title[1].format(**words)
            price = option.price[0].format(**words), option.price[1].format(**words)
            found.append(Change(option.id, option.cost, title, price, patch))
    return found


def _words(patch: Patch) -> dict[str, Any]:
    """The new values by the last part of their field's name, for titles."""
    return {name.split(".")[1]: value for name, value in patch.items()}


def _lora(spec: JobSpec) -> bool:
    return spec.adaptation.method == "lora"


MOST_STEPS = int(LIMITS["batch.gradient_accumulation_steps"].high)


def _smaller_batch(spec: JobSpec) -> Patch:
    found = smaller_micro_batch(spec, MOST_STEPS)
    assert found is not None, "the option applies only where there is one"
    return {"batch.per_device_train_batch_size": found[0], "batch.gradient_accumulation_steps": found[1]}


def _sharded(spec: JobSpec, *names: str) -> bool:
    return spec.parallelism.strategy in names


def _takes_zero3(spec: JobSpec) -> bool:
    other = spec.parallelism.gpus > 1 and _sharded(spec, "ddp", "zero1", "zero2")
    return other and can_divide(spec.precision.quantization, "zero3")


def _holds_whole_gradients(spec: JobSpec) -> bool:
    return _sharded(spec, "fsdp") and spec.parallelism.gpus > 1 and spec.batch.gradient_accumulation_steps > 1


_FAST_ADAM = ("adamw_torch", "adamw_torch_fused")
_LORA: Patch = {"adaptation.method": "lora", "precision.master_weights": False}
_OPTIONS = (
    _Option("fused-loss", 1, lambda spec: not (spec.memory_savers.fused_loss or spec.adaptation.head_adapters), {"memory_savers.fused_loss": True},
            ("Compute the loss in tiles", "分块计算损失"), ("same result, same speed", "结果与速度不变")),
    _Option("sdpa", 1, lambda spec: spec.memory_savers.attention == "eager", {"memory_savers.attention": "sdpa"},
            ("Use a fused attention kernel (sdpa)", "使用融合注意力（sdpa）"), ("faster; same result up to rounding", "更快，结果仅有舍入差别")),
    _Option("expandable-segments", 1, lambda spec: not spec.memory_savers.expandable_segments, {"memory_savers.expandable_segments": True},
            ("Let the allocator's segments expand", "允许分配器的内存段扩展"),
            ("same result; PyTorch calls it experimental", "结果不变；PyTorch 称其为实验性功能")),
    _Option("fused-adamw", 1, lambda spec: spec.optimizer.name == "adamw_torch", {"optimizer.name": "adamw_torch_fused"},
            ("Use fused AdamW", "使用融合 AdamW"), ("same result, faster", "结果相同，更快")),
    _Option("double-quant", 1, lambda spec: not spec.precision.double_quant and spec.precision.quantization in ("nf4", "fp4"),
            {"precision.double_quant": True}, ("Quantize the quantization constants too", "对量化常数再量化"),
            ("no measurable loss of quality", "质量没有可测的损失")),
    _Option("packing", 2, lambda spec: not spec.data.packing, {"data.packing": True},
            ("Pack rows into sequences of one length", "将多行打包成等长序列"),
            ("fewer, fuller steps; the allocator's cache no longer grows with every new length", "步数更少更满，分配器缓存不再随长度增长")),
    _Option("smaller-batch", 2, lambda spec: smaller_micro_batch(spec, MOST_STEPS) is not None, _smaller_batch,
            ("Batch {per_device_train_batch_size} with accumulation {gradient_accumulation_steps}",
             "批大小 {per_device_train_batch_size}，累积 {gradient_accumulation_steps}"),
            ("same effective batch of {effective} rows; a little slower", "有效批大小仍为 {effective} 行，略慢")),
    _Option("no-accumulation", 3, _holds_whole_gradients, {"batch.gradient_accumulation_steps": 1},
            ("Accumulation 1: FSDP divides gradients at once", "累积设为 1：FSDP 会立即切分梯度"),
            ("an effective batch of less than {effective} rows; more communication", "有效批大小小于 {effective} 行，通信更多")),
    _Option("checkpointing", 2, lambda spec: not spec.memory_savers.gradient_checkpointing, {"memory_savers.gradient_checkpointing": True},
            ("Turn gradient checkpointing on", "开启梯度检查点"), ("about a third slower; same result", "约慢三分之一，结果相同")),
    _Option("adamw-8bit", 3, lambda spec: spec.optimizer.name in _FAST_ADAM, {"optimizer.name": "adamw_8bit"},
            ("Keep Adam's states in 8 bit", "用 8 位保存 Adam 状态"), ("quality nearly always the same", "质量几乎总是不变")),
    _Option("paged-adamw", 3, lambda spec: spec.optimizer.name == "adamw_8bit", {"optimizer.name": "paged_adamw_8bit"},
            ("Let Adam's states move to host memory", "允许 Adam 状态换出到主机内存"), ("slower when memory is short", "显存不足时变慢")),
    _Option("adapter-16bit", 3, lambda spec: _lora(spec) and spec.precision.adapter_dtype == "float32" and spec.precision.dtype != "float32",
            lambda spec: {"precision.adapter_dtype": spec.precision.dtype}, ("Keep adapters in 16 bit", "适配器使用 16 位"),
            ("small updates may round away", "很小的更新可能被舍入")),
    _Option("no-dropout", 3, lambda spec: _lora(spec) and spec.adaptation.lora_dropout > 0, {"adaptation.lora_dropout": 0.0},
            ("Turn LoRA dropout off", "关闭 LoRA dropout"), ("a little less regularization", "正则化略弱")),
    _Option("no-dora", 3, lambda spec: _lora(spec) and spec.adaptation.use_dora, {"adaptation.use_dora": False},
            ("LoRA instead of DoRA", "用 LoRA 代替 DoRA"), ("faster; may learn slightly less", "更快，可能学得略少")),
    _Option("nf4", 3, lambda spec: _lora(spec) and spec.precision.quantization == "none", {"precision.quantization": "nf4"},
            ("Load the frozen weights in 4 bit (QLoRA)", "以 4 位加载冻结权重（QLoRA）"),
            ("about a third slower; slightly lower quality", "约慢三分之一，质量略降")),
    _Option("nf4-from-int8", 3, lambda spec: _lora(spec) and spec.precision.quantization == "int8", {"precision.quantization": "nf4"},
            ("4 bit (nf4) instead of 8 bit", "用 4 位（nf4）代替 8 位"), ("usually faster; slightly lower quality", "通常更快，质量略降")),
    _Option("no-masters", 4, lambda spec: spec.precision.master_weights and not _lora(spec), {"precision.master_weights": False},
            ("Train in pure 16 bit, without fp32 masters", "纯 16 位训练，不保留 fp32 主权重"),
            ("small updates may round away", "很小的更新可能被舍入")),
    _Option("shorter", 4, lambda spec: spec.data.max_length > 256, lambda spec: {"data.max_length": spec.data.max_length // 2},
            ("Longest sequence {max_length} tokens", "最长序列 {max_length} 个词元"), ("longer rows are cut", "更长的行会被截断")),
    _Option("no-saved-modules", 4, lambda spec: _lora(spec) and bool(spec.adaptation.modules_to_save), {"adaptation.modules_to_save": []},
            ("Do not train embeddings or head in full", "不完整训练嵌入层与输出层"), ("new tokens are not learned", "学不到新词元")),
    _Option("smaller-rank", 4, lambda spec: _lora(spec) and spec.adaptation.r > 8, {"adaptation.r": 8},
            ("Rank 8", "秩 8"), ("less capacity to learn", "学习容量更小")),
    _Option("zero3", 4, _takes_zero3, {"parallelism.strategy": "zero3"},
            ("Shard weights too (ZeRO-3)", "权重也分片（ZeRO-3）"), ("more communication, slower", "通信更多，更慢")),
    _Option("offload", 4, lambda spec: spec.parallelism.offload == "none" and _sharded(spec, "zero1", "zero2", "zero3", "fsdp"),
            {"parallelism.offload": "optimizer"}, ("Keep the optimizer in host memory", "优化器放在主机内存"),
            ("steps wait for the processor", "每步需等待 CPU")),
    _Option("lora", 5, lambda spec: not _lora(spec), _LORA,
            ("Train LoRA adapters instead of every weight", "训练 LoRA 适配器而非全部权重"),
            ("learns less from large data sets", "在大数据集上学得更少")),
    _Option("qlora", 5, lambda spec: not _lora(spec), {**_LORA, "precision.quantization": "nf4"},
            ("QLoRA: 4-bit frozen weights with adapters", "QLoRA：4 位冻结权重加适配器"),
            ("slower; learns less from large data sets", "更慢，在大数据集上学得更少")),
)  # fmt: skip
