"""advise(spec, ...): what to change so that a fine-tune fits, or needs less, cheapest in speed and quality first.

Each suggestion is one change applied to the spec as it is, with the bytes it saves and its price in words. Patches are
dotted paths, so that several can be applied together; ``apply`` does it and estimates again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tunescope.memory.architecture import Architecture
from tunescope.memory.devices import DEVICES, Device
from tunescope.memory.estimate import MAX_TOKENS, Estimate, estimate
from tunescope.memory.lengths import Lengths
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec

Language = Literal["en", "zh"]
WORTH = 8 * 1024**2
"""Savings below this many bytes are not worth a sentence."""


@dataclass(frozen=True)
class Change:
    """A change one could make. ``cost`` orders suggestions: 1 costs nothing, 5 changes what is learned."""

    id: str
    cost: int
    title: tuple[str, str]
    price: tuple[str, str]
    patch: dict[str, Any]


@dataclass(frozen=True)
class Suggestion:
    change: Change
    bytes_saved: int
    total_bytes: int
    fits: bool


@dataclass(frozen=True)
class Advice:
    """What to do, ranked, and the limits of the spec as it is."""

    fits: bool
    suggestions: tuple[Suggestion, ...]
    longest_max_length: int | None
    largest_batch: int | None
    cheapest_gpu: str | None
    language: Language

    def to_dict(self) -> dict[str, Any]:
        index = 1 if self.language == "zh" else 0
        return {
            "fits": self.fits,
            "suggestions": [
                {
                    "id": item.change.id,
                    "title": item.change.title[index],
                    "price": item.change.price[index],
                    "bytes_saved": item.bytes_saved,
                    "total_bytes": item.total_bytes,
                    "fits": item.fits,
                    "patch": item.change.patch,
                }
                for item in self.suggestions
            ],
            "longest_max_length": self.longest_max_length,
            "largest_batch": self.largest_batch,
            "cheapest_gpu": self.cheapest_gpu,
        }


def advise(
    spec: JobSpec,
    architecture: Architecture,
    device: Device,
    lengths: Lengths | None = None,
    stack: Stack = DEFAULT,
    language: Language = "en",
) -> Advice:
    """Rank the changes that save memory on ``device``. Raises InvalidInput if the spec itself cannot be estimated."""

    def at(candidate: JobSpec, gpu: Device = device) -> Estimate:
        return estimate(candidate, architecture, gpu, lengths, stack)

    now = at(spec)
    found: list[Suggestion] = []
    for change in _changes(spec):
        try:
            after = at(apply(spec, change.patch))
        except InvalidInput:
            continue
        saved = now.total_bytes - after.total_bytes
        if saved >= WORTH:
            found.append(Suggestion(change, saved, after.total_bytes, after.fits))
    # Those that make it fit come first, then the cheaper, then the bigger saving.
    found.sort(key=lambda item: (not item.fits and not now.fits, item.change.cost, -item.bytes_saved))
    return Advice(
        now.fits,
        tuple(found),
        _largest(lambda value: at(apply(spec, {"data.max_length": value})).fits, 8, architecture_limit(architecture)),
        _largest(lambda value: at(apply(spec, {"batch.per_device_train_batch_size": value})).fits, 1, 4096),
        _cheapest(lambda gpu: at(spec, gpu).fits),
        language,
    )


def architecture_limit(architecture: Architecture) -> int:
    """The longest sequence worth trying: the model's positions where its config says so, else a million."""
    return architecture.max_positions or 1_048_576


def apply(spec: JobSpec, patch: dict[str, Any]) -> JobSpec:
    """The spec with dotted fields replaced and checked again. Raises InvalidInput."""
    values = spec.model_dump(mode="json")
    for path, value in patch.items():
        section, name = path.split(".")
        values[section][name] = value
    return parse_spec(values)


def _largest(fits: Callable[[int], bool], low: int, high: int) -> int | None:
    """The largest whole number for which ``fits`` holds, by bisection: memory only grows with it."""

    def holds(value: int) -> bool:
        try:
            return bool(fits(value))
        except InvalidInput:
            return False

    if not holds(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return min(low, MAX_TOKENS)


def _cheapest(fits: Callable[[Device], bool]) -> str | None:
    able = [device for device in DEVICES.values() if fits(device)]
    return min(able, key=lambda device: device.price_rank).name if able else None


def _changes(spec: JobSpec) -> list[Change]:
    """Every single change that could save memory for this spec, whether or not it does."""
    lora = spec.adaptation.method == "lora"
    batch, steps = spec.batch.per_device_train_batch_size, spec.batch.gradient_accumulation_steps
    changes: list[Change] = []

    def add(id: str, cost: int, title: tuple[str, str], price: tuple[str, str], **patch: Any) -> None:
        changes.append(Change(id, cost, title, price, {key.replace("__", "."): value for key, value in patch.items()}))

    if not spec.memory_savers.fused_loss:
        add(
            "fused-loss",
            1,
            ("Compute the loss in tiles", "分块计算损失"),
            ("same result, same speed", "结果与速度不变"),
            memory_savers__fused_loss=True,
        )
    if spec.memory_savers.attention == "eager":
        add(
            "sdpa",
            1,
            ("Use a fused attention kernel (sdpa)", "使用融合注意力（sdpa）"),
            ("faster; same result up to rounding", "更快，结果仅有舍入差别"),
            memory_savers__attention="sdpa",
        )
    if spec.optimizer.name == "adamw_torch":
        add(
            "fused-adamw",
            1,
            ("Use fused AdamW", "使用融合 AdamW"),
            ("same result, faster", "结果相同，更快"),
            optimizer__name="adamw_torch_fused",
        )
    if not spec.precision.double_quant and spec.precision.quantization in ("nf4", "fp4"):
        add(
            "double-quant",
            1,
            ("Quantize the quantization constants too", "对量化常数再量化"),
            ("no measurable loss of quality", "质量没有可测的损失"),
            precision__double_quant=True,
        )
    if batch > 1:
        half = batch // 2
        more = -(-steps * batch // half)
        add(
            "smaller-batch",
            2,
            (f"Batch {half} with accumulation {more}", f"批大小 {half}，累积 {more}"),
            ("same effective batch; a little slower", "有效批大小不变，略慢"),
            batch__per_device_train_batch_size=half,
            batch__gradient_accumulation_steps=more,
        )
    if not spec.memory_savers.gradient_checkpointing:
        add(
            "checkpointing",
            2,
            ("Turn gradient checkpointing on", "开启梯度检查点"),
            ("about a third slower; same result", "约慢三分之一，结果相同"),
            memory_savers__gradient_checkpointing=True,
        )
    if spec.optimizer.name in ("adamw_torch", "adamw_torch_fused"):
        add(
            "adamw-8bit",
            3,
            ("Keep Adam's states in 8 bit", "用 8 位保存 Adam 状态"),
            ("quality nearly always the same", "质量几乎总是不变"),
            optimizer__name="adamw_8bit",
        )
    if lora and spec.precision.adapter_dtype == "float32" and spec.precision.dtype != "float32":
        add(
            "adapter-16bit",
            3,
            ("Keep adapters in 16 bit", "适配器使用 16 位"),
            ("small updates may round away", "很小的更新可能被舍入"),
            precision__adapter_dtype=spec.precision.dtype,
        )
    if lora and spec.adaptation.lora_dropout > 0:
        add(
            "no-dropout",
            3,
            ("Turn LoRA dropout off", "关闭 LoRA dropout"),
            ("a little less regularization", "正则化略弱"),
            adaptation__lora_dropout=0.0,
        )
    if lora and spec.precision.quantization == "none":
        add(
            "nf4",
            3,
            ("Load the frozen weights in 4 bit (QLoRA)", "以 4 位加载冻结权重（QLoRA）"),
            ("about a third slower; slightly lower quality", "约慢三分之一，质量略降"),
            precision__quantization="nf4",
        )
    if lora and spec.precision.quantization == "int8":
        add(
            "nf4-from-int8",
            3,
            ("4 bit (nf4) instead of 8 bit", "用 4 位（nf4）代替 8 位"),
            ("usually faster; slightly lower quality", "通常更快，质量略降"),
            precision__quantization="nf4",
        )
    if spec.precision.master_weights and spec.adaptation.method == "full":
        add(
            "no-masters",
            4,
            ("Train in pure 16 bit, without fp32 masters", "纯 16 位训练，不保留 fp32 主权重"),
            ("small updates may round away", "很小的更新可能被舍入"),
            precision__master_weights=False,
        )
    if spec.data.max_length > 256:
        half_length = spec.data.max_length // 2
        add(
            "shorter",
            4,
            (f"Longest sequence {half_length} tokens", f"最长序列 {half_length} 个词元"),
            ("longer rows are cut", "更长的行会被截断"),
            data__max_length=half_length,
        )
    if lora and spec.adaptation.modules_to_save:
        add(
            "no-saved-modules",
            4,
            ("Do not train embeddings or head in full", "不完整训练嵌入层与输出层"),
            ("new tokens are not learned", "学不到新词元"),
            adaptation__modules_to_save=[],
        )
    if lora and spec.adaptation.r > 8:
        add("smaller-rank", 4, ("Rank 8", "秩 8"), ("less capacity to learn", "学习容量更小"), adaptation__r=8)
    if not lora:
        add(
            "lora",
            5,
            ("Train LoRA adapters instead of every weight", "训练 LoRA 适配器而非全部权重"),
            ("learns less from large data sets", "在大数据集上学得更少"),
            adaptation__method="lora",
            precision__master_weights=False,
        )
        add(
            "qlora",
            5,
            ("QLoRA: 4-bit frozen weights with adapters", "QLoRA：4 位冻结权重加适配器"),
            ("slower; learns less from large data sets", "更慢，在大数据集上学得更少"),
            adaptation__method="lora",
            precision__master_weights=False,
            precision__quantization="nf4",
        )
    if spec.parallelism.gpus > 1 and spec.parallelism.strategy in ("ddp", "zero1", "zero2"):
        add(
            "zero3",
            4,
            ("Shard weights too (ZeRO-3)", "权重也分片（ZeRO-3）"),
            ("more communication, slower", "通信更多，更慢"),
            parallelism__strategy="zero3",
        )
    return changes  # fmt: skip
