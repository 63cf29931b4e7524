"""Reserved bytes by formula beside whole traces: ``python -m benchmarks.replayed_fragmentation [WORD ...]``.

Every model x recipe x stack is traced in full and replayed through the model of CUDA's caching allocator; the formula
replays only the large tensors of some layers. Prints both, and how much more the whole traces reserve: the quantiles that
``UNFOLLOWED`` and its siblings in ``tunescope/memory/fragmentation.py`` are taken from. About ten minutes; the words ``native`` and
``expandable`` leave out half of it.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from statistics import mean, quantiles
from typing import Any

from tunescope.memory.allocator import Change
from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.cached_blocks import CachedBlocks, cached_blocks
from tunescope.memory.devices import Device
from tunescope.memory.estimate import Estimate, estimate, workload
from tunescope.memory.fragmentation import unfollowed
from tunescope.memory.persistent import persistent_tensors
from tunescope.memory.sharding import share
from tunescope.memory.stack import stack_named
from tunescope.spec import JobSpec, parse_spec
from tunescope.units import GIB
from worker.tracer.replay import allocator, highest_requested
from worker.tracer.step import Workload, as_on_cuda
from worker.tracer.stream import changes
from worker.tracer.trace import record


def _decoder(
    model_type: str, hidden: int, layers: int, heads: int, kv: int, wide: int, vocab: int, **more: Any
) -> dict[str, Any]:
    return {
        "model_type": model_type, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "intermediate_size": wide, "vocab_size": vocab, "max_position_embeddings": 32768,
        "tie_word_embeddings": False, **more,
    }  # fmt: skip


MODELS = {
    "Mistral-7B": _decoder("mistral", 4096, 32, 32, 8, 14336, 32000, sliding_window=None),
    "Qwen2.5-7B": _decoder("qwen2", 3584, 28, 28, 4, 18944, 152064),
    "Llama-3.2-1B": _decoder("llama", 2048, 16, 32, 8, 8192, 128256, head_dim=64, tie_word_embeddings=True),
    "Qwen2.5-0.5B": _decoder("qwen2", 896, 24, 14, 2, 4864, 151936, tie_word_embeddings=True),
    "Qwen-7B": {
        "model_type": "qwen", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "intermediate_size": 22016, "vocab_size": 151936, "kv_channels": 128, "max_position_embeddings": 8192,
    },
}  # fmt: skip
STACKS = {
    "Qwen-7B": ("qwen-2023",),
    "Mistral-7B": ("current", "transformers-4.48"),
    "Qwen2.5-7B": ("current", "transformers-4.48"),
}
METHODS: dict[str, tuple[str, str]] = {"LoRA": ("lora", "none"), "QLoRA": ("lora", "nf4"), "full": ("full", "none")}
SHAPES = ((1, 512), (1, 1500), (4, 2048), (2, 3300), (4, 4096))
"""(rows, tokens) of a micro batch, round ones and others."""
ROOMY = Device("a card with room for anything", 1 << 50)
KEPT_WHOLE = 8192
"""Without checkpointing no more tokens than this: more would fit no card."""


@dataclass(frozen=True)
class Case:
    model: str
    method: str
    stack: str
    batch: int
    length: int
    checkpointing: bool
    expandable: bool = False

    @property
    def name(self) -> str:
        kept = "" if self.checkpointing else " keeping all"
        return f"{self.model} {self.method} {self.stack} {self.batch}x{self.length}{kept} {self.segments}"

    @property
    def segments(self) -> str:
        return "expandable" if self.expandable else "native"

    def spec(self) -> JobSpec:
        method, quantization = METHODS[self.method]
        return parse_spec(
            {
                "model": {"id": self.model}, "data": {"dataset": "d", "max_length": self.length},
                "adaptation": {"method": method}, "precision": {"quantization": quantization},
                "batch": {"per_device_train_batch_size": self.batch, "gradient_accumulation_steps": 1},
                "memory_savers": {
                    "gradient_checkpointing": self.checkpointing, "attention": "flash_attention_2",
                    "expandable_segments": self.expandable,
                },
            }
        )  # fmt: skip

    def estimate(self) -> Estimate:
        return estimate(self.spec(), architecture_from_config(MODELS[self.model]), ROOMY, stack=stack_named(self.stack))

    def traced(self) -> tuple[int, int]:
        """(peak, reserved) bytes of the whole trace."""
        stream = _stream(replace(self, expandable=False))
        return highest_requested(stream), allocator(self.expandable).run(stream).reserved_peak

    def blocks(self) -> CachedBlocks:
        """The formula's own replay of the large tensors."""
        spec, architecture, stack = self.spec(), architecture_from_config(MODELS[self.model]), stack_named(self.stack)
        persistent = persistent_tensors(spec, architecture, stack)
        held = share(spec, architecture, persistent, stack)
        return cached_blocks(spec, architecture, workload(spec, architecture, None), stack, persistent, held)


@lru_cache(maxsize=1)
def _stream(case: Case) -> list[Change]:
    """All that the load and three steps ask of the allocator, however its segments behave."""
    spec, work = case.spec(), Workload(case.batch, case.length)
    with as_on_cuda(work):
        recording = record(spec, MODELS[case.model], stack_named(case.stack), work, ROOMY.cublas_workspace_bytes)
    steady = [event for number in (1, 2) for event in recording.steady_step(number)]
    return changes([*recording.load, *recording.first_step(), *steady])


def cases() -> Iterator[Case]:
    for model in MODELS:
        for method in METHODS:
            for stack in STACKS.get(model, ("current",)):
                # Torch 2.0's two lists of temporaries are the stack's; the trace makes those of today's torch.
                if stack == "qwen-2023" and method == "full":
                    continue
                for (batch, length), checkpointing, expandable in product(SHAPES, (True, False), (False, True)):
                    if checkpointing or batch * length <= KEPT_WHOLE:
                        yield Case(model, method, stack, batch, length, checkpointing, expandable)


def main(words: list[str]) -> None:
    errors: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    print("| run | peak GiB | cached, whole trace | cached, formula | error of reserved |")
    print("|---|---|---|---|---|")
    for case in cases():
        if not all(word.lower() in case.name.lower() for word in words):
            continue
        found, (peak, reserved) = case.estimate(), case.traced()
        kept, cached = reserved - peak, found.ledger["fragmentation"]
        error = 100 * ((found.allocated_bytes + cached) / reserved - 1)
        errors.setdefault(f"{case.method}, {case.segments}", []).append(error)
        blocks = case.blocks()
        # Blocks for small tensors are counted, not followed.
        small = cached - int(unfollowed(blocks)[1] * blocks.roomy)
        kind = f"{'full' if blocks.in_full else 'adapters'}, {case.segments}"
        ratios.setdefault(kind, []).append((kept - small) / max(1, blocks.roomy))
        print(
            f"| {case.name} | {peak / GIB:.2f} | {kept / GIB:.2f} | {cached / GIB:.2f} | {error:+.1f} % |",
            flush=True,
        )
    for method, found_errors in errors.items():
        sizes = sorted(abs(error) for error in found_errors)
        print(
            f"{method}: mean error {mean(sizes):.1f} %, median {sizes[len(sizes) // 2]:.1f} %, worst {sizes[-1]:.1f} %"
        )
    for kind, found_ratios in ratios.items():
        if len(found_ratios) > 10:
            tenths = quantiles(found_ratios, n=10)
            print(
                f"{kind}: whole traces cache {tenths[0]:.2f} / {tenths[4]:.2f} / {tenths[8]:.2f} times what is followed"
                " (10, 50, 90 %)"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
