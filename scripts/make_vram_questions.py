"""Write tunescope/datasets/vram-questions.jsonl: our own questions and answers about VRAM, in English and Chinese.

The answers with figures are computed by tunescope.memory from published dimensions, so none is invented.
"""

import json
from pathlib import Path

from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEFAULT_DEVICE
from tunescope.memory.estimate import estimate
from tunescope.spec import parse_spec
from tunescope.units import format_bytes

OUT = Path(__file__).resolve().parents[1] / "tunescope" / "datasets" / "vram-questions.jsonl"
MODELS = [
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-3B",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen2.5-14B-Instruct",
    "Qwen/Qwen2.5-32B-Instruct",
    "Qwen/Qwen2.5-72B-Instruct",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-1.7B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-14B",
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-2-7b-hf",
    "mistralai/Mistral-7B-v0.1",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "google/gemma-2b",
    "google/gemma-7b",
    "microsoft/Phi-3-mini-4k-instruct",
    "meta-llama/Llama-3.1-70B-Instruct",
]
CONCEPTS = [
    ("What is kept in VRAM during a fine-tune?", "The weights, the gradients and optimizer states of what is trained, the activations kept for the backward pass, the logits and loss, workspaces, the allocator's cache, and the CUDA context.",
     "微调时显存里有什么？", "权重、可训练部分的梯度和优化器状态、为反向传播保留的激活值、logits 与损失、工作区、分配器缓存，以及 CUDA 上下文。"),
    ("Does gradient accumulation need more VRAM?", "Hardly any at a fixed micro batch: the micro batches run one after the other, and their gradients are added in the same buffers.",
     "梯度累积会增加显存吗？", "微批次大小不变时几乎不会：各微批次依次运行，梯度累加在同一块缓冲区。"),
    ("Why does QLoRA not need a quarter of LoRA's memory?", "Only the frozen weights shrink. Activations, logits, adapters, the CUDA context and the unquantized embeddings stay as they were.",
     "为什么 QLoRA 的显存不是 LoRA 的四分之一？", "只有冻结的权重变小了；激活值、logits、适配器、CUDA 上下文和未量化的嵌入层都不变。"),
    ("How many bytes does AdamW keep for each trained parameter?", "Two moments in the parameter's own type: 8 bytes for fp32 parameters, 4 bytes for bf16 ones.",
     "AdamW 为每个可训练参数保存多少字节？", "两个与参数同类型的矩：fp32 参数为 8 字节，bf16 参数为 4 字节。"),
    ("What does gradient checkpointing cost?", "Time: each layer's forward pass is computed again in backward. In return only the input of each layer is kept.",
     "梯度检查点的代价是什么？", "时间：反向传播时每层前向会重算一遍；换来的是每层只保留输入。"),
    ("Why do logits need so much memory?", "They have one value for every token and vocabulary entry, often in fp32 and in several copies while the loss is computed.",
     "为什么 logits 占用这么多显存？", "每个词元对应整个词表的一组数值，计算损失时常以 fp32 存在多份副本。"),
    ("What is double quantization?", "The 4-bit blocks' scales are themselves stored in 8 bits, which lowers their cost from 0.0625 to about 0.0159 bytes a weight.",
     "什么是双重量化？", "4 位分块的缩放因子本身也以 8 位存储，每个权重的开销从 0.0625 字节降到约 0.0159 字节。"),
    ("Does LoRA's rank decide the memory?", "Little: rank 8 to 64 changes the adapters' few million parameters, while weights and activations stay.",
     "LoRA 的秩决定显存吗？", "影响不大：秩从 8 到 64 只改变适配器的数百万参数，权重和激活值不变。"),
    ("Why does nvidia-smi show more than torch's allocated bytes?", "It also counts the CUDA context and what the caching allocator has reserved but does not use at the moment.",
     "为什么 nvidia-smi 显示的比 torch 已分配的多？", "它还包括 CUDA 上下文，以及缓存分配器已保留但暂未使用的显存。"),
    ("What does ZeRO-3 shard?", "Weights, gradients and optimizer states: each GPU holds its share and gathers one layer at a time.",
     "ZeRO-3 切分了什么？", "权重、梯度和优化器状态：每张 GPU 只保存自己的一份，计算时逐层收集。"),
    ("Why can full fine-tuning need 18 bytes a parameter?", "With fp32 master weights under ZeRO: 2 for bf16 weights, 4 for masters, 4 for fp32 gradients and 8 for Adam's moments.",
     "全参微调为什么可能每个参数需要 18 字节？", "ZeRO 使用 fp32 主权重时：bf16 权重 2，主权重 4，fp32 梯度 4，Adam 两个矩 8。"),
    ("What does packing do to memory?", "Every sequence reaches the maximum length, so each step needs the same, highest amount, but no token is padding.",
     "打包对显存有什么影响？", "每个序列都达到最大长度，因此每一步都是相同的最高用量，但没有填充词元。"),
    ("Why does memory climb for hundreds of steps?", "Longer samples arrive by chance, and blocks of other sizes fragment the allocator's cache. Group the longest batch first to see the peak early.",
     "为什么显存在数百步内一直上升？", "偶然出现更长的样本，不同大小的块使缓存碎片化。先跑最长的批次可以尽早看到峰值。"),
    ("Does dropout in LoRA cost memory?", "Yes: any value above zero keeps a mask and a dropped copy of the input of every adapted layer.",
     "LoRA 的 dropout 占显存吗？", "占：只要大于零，每个适配层都要保存掩码和一份经过 dropout 的输入。"),
]  # fmt: skip


def row(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def spec_of(model: str, method: str, quantization: str, length: int):
    return parse_spec(
        {
            "model": {"id": model, "source": "catalogue"},
            "adaptation": {"method": method},
            "precision": {"quantization": quantization},
            "data": {"dataset": "any", "max_length": length},
        }
    )


def computed(model: str) -> list[dict[str, object]]:
    """Questions whose answers the VRAM model gives for this model."""
    architecture = catalogue(model)
    name = model.split("/")[1]
    rows: list[dict[str, object]] = []
    for method, quantization, label in (("lora", "nf4", "QLoRA"), ("lora", "none", "LoRA"), ("full", "none", "full")):
        found = estimate(spec_of(model, method, quantization, 2048), architecture, DEFAULT_DEVICE).to_dict()
        weights, total = format_bytes(found["ledger"]["weights"]), format_bytes(found["total_bytes"])
        rows.append(
            row(
                f"How much VRAM does {label} fine-tuning of {name} need at 2048 tokens?",
                f"About {total} on one GPU at batch 1 with gradient checkpointing, of which {weights} are the weights.",
            )
        )
        chinese = {"full": "全参微调"}.get(label, f"{label} 微调")
        rows.append(
            row(
                f"在 2048 词元下，{name} 的{chinese}需要多少显存？",
                f"单卡、批大小 1、开启梯度检查点时约 {total}，其中权重占 {weights}。",
            )
        )
    long = estimate(spec_of(model, "lora", "nf4", 8192), architecture, DEFAULT_DEVICE).to_dict()
    short = estimate(spec_of(model, "lora", "nf4", 512), architecture, DEFAULT_DEVICE).to_dict()
    more = format_bytes(long["total_bytes"] - short["total_bytes"])
    rows.append(row(f"What do 8192 instead of 512 tokens cost when {name} is tuned with QLoRA?", f"About {more} more, for activations, logits and the allocator's cache."))  # fmt: skip
    rows.append(row(f"QLoRA 微调 {name} 时，8192 词元比 512 词元多用多少显存？", f"约多 {more}，用于激活值、logits 和分配器缓存。"))  # fmt: skip
    return rows


def main() -> None:
    rows = [row(*pair) for concept in CONCEPTS for pair in (concept[:2], concept[2:])]
    for model in MODELS:
        rows.extend(computed(model))
    OUT.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in rows), encoding="utf-8")
    print(f"{len(rows)} questions")


if __name__ == "__main__":
    main()
