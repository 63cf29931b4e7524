"""Traces of published runs beside what was measured: ``python -m benchmarks.trace_published [WORD ...]``.

Measured: foundation-model-stack/fms-acceleration (Apache-2.0), scripts/benchmarks/refs at 876e2ed6: A100-80GB, one GPU,
4096 tokens a row, r=16 on q, k, v, o with dropout 0.1, gradient checkpointing, FlashAttention-2, torch 2.4.1,
transformers 4.48.1 (PowerLM 4.45.2), peft 0.13.2, trl 0.13.0, bitsandbytes 0.43.3. Rows that are not traced are named at the end,
with the reason. One constant: what nvidia-smi shows beside torch's reserved bytes, set from the first row and used everywhere.
"""

import csv
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.vram_accuracy import OWN, LeftOut, fms_name, print_left_out
from tunescope.memory.stack import stack_named
from tunescope.memory.trace import Trace
from tunescope.spec import JobSpec, parse_spec
from tunescope.units import MIB
from worker.tracer.trace import trace

CONTEXT_MIB = 1698
CARD_BYTES = 81_920 * MIB
"""The A100-80GB as NVML reports it."""


def _llama_like(
    model_type: str, hidden: int, layers: int, heads: int, kv: int, wide: int, vocab: int, **more: Any
) -> dict[str, Any]:
    return {
        "model_type": model_type, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "intermediate_size": wide, "vocab_size": vocab, "max_position_embeddings": 4096, **more,
    }  # fmt: skip


MODELS: dict[str, dict[str, Any]] = {
    "Mistral-7B": _llama_like("mistral", 4096, 32, 32, 8, 14336, 32000, sliding_window=None),
    "Llama-2-70B": _llama_like("llama", 8192, 80, 64, 8, 28672, 32000),
    "PowerLM-3B": _llama_like("granite", 2304, 40, 36, 36, 9216, 49152, tie_word_embeddings=True, logits_scaling=8.0),
}


@dataclass(frozen=True)
class Run:
    """One published run: ``peak`` is torch's max_memory_allocated in bytes, ``smi`` nvidia-smi's MiB."""

    model: str
    method: str
    batch: int
    stack: str
    peak: int
    smi: int

    @property
    def name(self) -> str:
        return f"{self.model} {self.method} b{self.batch}"

    def spec(self) -> JobSpec:
        lora = {
            "method": "lora",
            "r": 16,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
            "lora_dropout": 0.1,
        }
        return parse_spec(
            {
                "model": {"id": self.model}, "data": {"dataset": "d", "max_length": 4096},
                "adaptation": {"method": "full"} if self.method == "full" else lora,
                "precision": {"quantization": "nf4" if self.method.startswith("QLoRA") else "none"},
                "batch": {"per_device_train_batch_size": self.batch, "gradient_accumulation_steps": 1},
                "memory_savers": {"attention": "flash_attention_2"},
            }
        )  # fmt: skip

    def trace(self) -> Trace:
        return trace(self.spec(), MODELS[self.model], stack=stack_named(self.stack))


_PLAIN, _AMP, _NORMS = "transformers-4.48-no-autocast", "transformers-4.48", "transformers-4.48-norms-fp32"
_POWER = "transformers-4.45"
RUNS = (
    Run("Mistral-7B", "LoRA", 4, _PLAIN, 26_704_571_904, 29_576),
    Run("Mistral-7B", "LoRA", 8, _PLAIN, 38_742_912_512, 43_232),
    Run("Mistral-7B", "QLoRA", 4, _AMP, 16_373_838_336, 19_912),
    Run("Mistral-7B", "QLoRA", 8, _AMP, 28_412_178_944, 34_016),
    Run("Mistral-7B", "QLoRA norms fp32", 4, _NORMS, 20_669_338_112, 26_056),
    Run("Mistral-7B", "QLoRA norms fp32", 8, _NORMS, 37_002_646_016, 46_050),
    Run("Mistral-7B", "full", 4, _AMP, 72_434_837_504, 77_256),
    Run("Mistral-7B", "full", 8, _AMP, 72_435_230_720, 72_988),
    Run("Llama-2-70B", "QLoRA", 4, _AMP, 68_126_381_056, 72_950),
    Run("PowerLM-3B", "QLoRA", 4, _POWER, 15_152_000_000, 19_379),
    Run("PowerLM-3B", "QLoRA", 8, _POWER, 28_135_000_000, 35_837),
    Run("PowerLM-3B", "full", 4, _POWER, 35_135_000_000, 47_683),
    Run("PowerLM-3B", "full", 8, _POWER, 47_059_000_000, 52_927),
)


def shown_by_smi(answer: Trace) -> int:
    """MiB that nvidia-smi shows: what is reserved on a card with room, or what is left after cached blocks went back."""
    reserved = answer.replay.reserved_peak_bytes
    if reserved + CONTEXT_MIB * MIB > CARD_BYTES:
        reserved = answer.replay.smallest_budget_bytes
    return reserved // MIB + CONTEXT_MIB


WHY_NOT = {
    "foak": "fused kernels (foak) have a loss and norms of their own, which no stack profile has",
    "autogptq": "the tracer has no stand-ins for GPTQ's kernels",
    "Mixtral": "transformers 4.48 kept each expert as matrices of its own, which bitsandbytes quantized; the version that is traced "
    "here keeps all of them in one 16-bit parameter",
    "gpt_bigcode": "transformers 4.48 had a loss and a cache of GPT-BigCode's own; the version that is traced here has neither",
}
"""A part of a published row's name -> why a trace of the installed libraries cannot be held against it."""


def left_out() -> list[LeftOut]:
    """The rows of fms-acceleration's table that are not among RUNS."""
    with OWN["fms_a100_80gb_1gpu.csv"].open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    traced = {run.peak for run in RUNS}
    names = [fms_name(line) for line in lines if int(line["mem_peak_torch_mem_alloc_in_bytes"]) not in traced]
    return [LeftOut(name, next(why for part, why in WHY_NOT.items() if part in name)) for name in names]


def main(words: list[str]) -> None:
    print("| run | traced peak | measured | error | nvidia-smi from the replay | measured | error | s |")
    print("|---|---|---|---|---|---|---|---|")
    for run in RUNS:
        if not all(word.lower() in run.name.lower() for word in words):
            continue
        began = time.perf_counter()
        answer = run.trace()
        peak, smi = answer.peak_bytes, shown_by_smi(answer)
        print(
            f"| {run.name} | {peak:,} | {run.peak:,} | {100 * (peak / run.peak - 1):+.4f} % | {smi:,} | {run.smi:,} "
            f"| {100 * (smi / run.smi - 1):+.1f} % | {time.perf_counter() - began:.1f} |",
            flush=True,
        )
    print_left_out(left_out(), len(RUNS))


if __name__ == "__main__":
    main(sys.argv[1:])
