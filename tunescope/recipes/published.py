"""Published VRAM measurements (``published.csv``): what others measured, with their source and the settings they name.

Sources: QwenLM/Qwen, README, "Profiling of Memory and Speed" (decimal GB; rows over several GPUs are sums over them), and
modelscope/ms-swift, docs/source_en/LLM/Benchmark.md of early 2024 (GiB). Where a row was made with one of our recipes, at
some sequence length, it names that recipe, so that the page can show it beside the prediction.
"""

import csv
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

BYTES = {"GB": 10**9, "GiB": 2**30}
RECIPES = {
    "qwen-official/Qwen-7B/lora/": "qwen-official-lora",
    "qwen-official/Qwen-7B/lora_emb/": "qwen-official-lora-base",
    "qwen-official/Qwen-7B/qlora/": "qwen-official-qlora",
    "qwen-official/Qwen-7B/full/": "qwen-official-full",
    "ms-swift/length/lora/qwen-7b-chat/": "swift-2024-lora",
    "ms-swift/length/full/qwen-7b-chat/": "swift-2024-full",
    "ms-swift/quantization/qwen-7b-chat/nf4": "swift-2024-qlora",
}
"""Rows whose id begins so vary only the sequence length of this recipe."""


@dataclass(frozen=True)
class Measurement:
    """One published figure. ``bytes`` is what they print; ``bytes_per_gpu`` shares a sum over several GPUs evenly."""

    id: str
    source: str
    recipe: str | None
    model: str
    method: str
    quantization: str
    tokens: int
    gpus: int
    gpu: str
    bytes: int
    bytes_per_gpu: int
    printed: str
    notes: str
    counts_context: bool
    """False where the figure is torch's own (``max_memory_reserved``): CUDA's context is not in it."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@lru_cache(maxsize=1)
def load_published() -> tuple[Measurement, ...]:
    """Every row, in the order of the file."""
    text = (files("tunescope.recipes") / "published.csv").read_text(encoding="utf-8")
    return tuple(_measurement(row) for row in csv.DictReader(text.splitlines()))


def _measurement(row: dict[str, str]) -> Measurement:
    total = round(float(row["measured"]) * BYTES[row["unit"]])
    gpus = int(row["gpus"])
    recipe = next((name for prefix, name in RECIPES.items() if row["id"].startswith(prefix)), None)
    return Measurement(
        id=row["id"],
        source=row["source"],
        recipe=recipe,
        model=row["model"],
        method=row["method"],
        quantization=row["quantization"] or "none",
        tokens=int(row["max_length"]),
        gpus=gpus,
        gpu=row["gpu"],
        bytes=total,
        bytes_per_gpu=total // gpus,
        printed=f"{row['measured']} {row['unit']}",
        notes=row["notes"],
        counts_context=not row["id"].startswith("ms-swift"),
    )
