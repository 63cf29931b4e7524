"""How close estimates come to published measurements: `python -m benchmarks.vram_accuracy [DIRECTORY]`.

Reads the two published tables, or files of the same names and columns in DIRECTORY, and prints errors by source, method
and model, beside a naive rule, `accelerate estimate-memory`'s, DeepSpeed's estimators and LLaMA-Factory's table, and every row that is
left out, with the reason. Nothing is tuned to a row.

The tables: tunescope/recipes/published.csv (QwenLM/Qwen and ms-swift, see tunescope.recipes.published), and
published/fms_a100_80gb_1gpu.csv, the single-GPU rows of foundation-model-stack/fms-acceleration (Apache-2.0),
scripts/benchmarks/refs/a100_80gb.csv at 876e2ed6. ``tests/unit/test_published_accuracy.py`` holds the errors that docs/estimates.md states.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tunescope.memory.architecture import Architecture
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEVICES
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.stack import STACKS, Stack
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec
from tunescope.units import GIB, MIB

UNITS = {"GB": 10**9, "GiB": GIB, "MiB": MIB}


@dataclass(frozen=True)
class Row:
    """One published run."""

    source: str
    name: str
    model: str
    method: str
    spec: JobSpec
    architecture: Architecture
    stack: Stack
    gpus: int
    measured: int
    allocated: int | None = None
    fixed_length: bool = True
    counts_context: bool = True
    """False where the figure is torch's ``max_memory_reserved``: CUDA's context is not in it."""
    sampled: bool = False
    """True where nvidia-smi was read once a second: too seldom to see the moment before the allocator gives blocks back."""

    def predict(self) -> Estimate:
        return estimate(self.spec, self.architecture, DEVICES["A100-80GB"], stack=self.stack)


@dataclass(frozen=True)
class LeftOut:
    """A published run without an estimate, and why."""

    name: str
    because: str


Line = dict[str, str]


def published_row(line: Line) -> Row:
    """A row of published.csv; sums over several GPUs stay sums."""
    official = line["id"].startswith("qwen-official")
    gpus = int(line["gpus"])
    full = line["method"] == "full"
    quantization = line["quantization"] or "none"
    zero2 = official and quantization == "gptq-int4"
    targets: Any = "all-linear" if "all linear" in line["target_modules"] else ["c_attn"]
    adaptation: dict[str, Any] = (
        {"method": "full"} if full else {"method": "lora", "r": int(line["r"]), "target_modules": targets}
    )
    if line["modules_to_save"]:
        adaptation["modules_to_save"] = line["modules_to_save"].split(",")
    # finetune_ds.sh was shipped with ds_config_zero2.json (QwenLM/Qwen at 0400505d) and with ds_config_zero3.json (at 69a7eebb). Under
    # ZeRO-2 the 7B model does not fit two cards; one process under ZeRO-3 holds 12 % less than the single-GPU rows show.
    sharded = "zero3" if gpus > 1 else "zero2"
    strategy = sharded if official and full else "zero2" if zero2 else "none"
    spec = parse_spec(
        {
            "model": {"id": line["model"]},
            "adaptation": adaptation,
            "precision": {
                "quantization": quantization,
                "dtype": line["dtype"],
                "master_weights": official and full,
                "adapter_dtype": "float16" if zero2 else "float32",
            },
            "batch": {
                "per_device_train_batch_size": int(line["per_device_train_batch_size"]),
                "gradient_accumulation_steps": int(line["gradient_accumulation_steps"]),
            },
            "parallelism": {"gpus": gpus, "strategy": strategy},
            "data": {"dataset": "x", "max_length": int(line["max_length"])},
            "memory_savers": {
                "gradient_checkpointing": line["gradient_checkpointing"] == "True",
                "attention": line["attention"],
            },
        }
    )
    fixed = line["length_kind"] == "fixed"
    stack = STACKS["qwen-2023" if official else "swift-2024"]
    measured = round(float(line["measured"]) * UNITS[line["unit"]])
    method = (
        "full" if full else ("lora+emb" if line["modules_to_save"] else "lora") if quantization == "none" else "qlora"
    )
    return Row(
        "QwenLM/Qwen" if official else "ms-swift", line["id"], line["model"], method, spec, catalogue(line["model"]), stack,
        gpus, measured, None, fixed, official,
    )  # fmt: skip


def fms_row(line: Line) -> Row:
    """A row of fms-acceleration. Raises InvalidInput for those with fused kernels."""
    framework = line["framework_config"]
    if "foak" in framework:
        raise InvalidInput("fused kernels (foak) have a loss and norms of their own, which no stack profile has")
    full = not line["peft_method"]
    gptq, bnb = "autogptq" in framework, "bnb" in framework
    name = (
        "transformers-4.48-norms-fp32"
        if framework.startswith("baseline")
        else "transformers-4.48"
        if gptq or bnb
        else "transformers-4.48-no-autocast"
    )
    model = line["model_name_or_path"]
    adaptation: dict[str, Any] = {"method": "full"}
    if not full:
        adaptation = {
            "method": "lora",
            "r": int(line["r"]),
            "lora_dropout": 0.1,
            "target_modules": line["target_modules"].split(),
        }
    spec = parse_spec(
        {
            "model": {"id": model},
            "adaptation": adaptation,
            "precision": {
                "quantization": "gptq-int4" if gptq else "nf4" if bnb else "none",
                "dtype": line["torch_dtype"],
            },
            "batch": {
                "per_device_train_batch_size": int(line["per_device_train_batch_size"]),
                "gradient_accumulation_steps": 1,
            },
            "data": {"dataset": "x", "max_length": 4096},
            "memory_savers": {"attention": "flash_attention_2"},
        }
    )
    method = "full" if full else "qlora" if gptq or bnb else "lora"
    return Row(
        "fms-acceleration", fms_name(line), model, method, spec, catalogue(model), STACKS[name],
        1, int(line["mem_nvidia_mem_reserved"]) * MIB, int(line["mem_peak_torch_mem_alloc_in_bytes"]),
        sampled=True,
    )  # fmt: skip


def fms_name(line: Line) -> str:
    framework, model = line.get("framework_config", "?"), line.get("model_name_or_path", "?")
    return f"{framework}/{model}/{line.get('peft_method') or 'full'}/b{line.get('per_device_train_batch_size', '?')}"


@dataclass(frozen=True)
class Table:
    """A file of published runs, and how a line of it is read."""

    path: Path
    read: Callable[[Line], Row]
    name: Callable[[Line], str]

    def rows(self) -> Iterator[Row | LeftOut]:
        with self.path.open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                try:
                    row = self.read(line)
                    row.predict()
                except InvalidInput as problem:
                    yield LeftOut(self.name(line), " ".join(str(problem).split()))
                except (KeyError, ValueError) as problem:
                    yield LeftOut(self.name(line), f"this line cannot be read: {problem!r}")
                else:
                    yield row


OWN = {
    "published.csv": Path(str(files("tunescope.recipes"))) / "published.csv",
    "fms_a100_80gb_1gpu.csv": Path(__file__).parent / "published" / "fms_a100_80gb_1gpu.csv",
}


def tables(folder: Path | None = None) -> list[Table]:
    """The published tables: the project's own copies, or those in ``folder``."""
    paths = {name: folder / name if folder else own for name, own in OWN.items()}
    return [
        Table(paths["published.csv"], published_row, lambda line: line.get("id", "?")),
        Table(paths["fms_a100_80gb_1gpu.csv"], fms_row, fms_name),
    ]


def read_tables(folder: Path | None = None) -> tuple[list[Row], list[LeftOut]]:
    """Every published run: those that are estimated, and those that are left out. Raises OSError."""
    found = [item for table in tables(folder) for item in table.rows()]
    return [item for item in found if isinstance(item, Row)], [item for item in found if isinstance(item, LeftOut)]


def naive(row: Row) -> int:
    """The usual rule of thumb: 16 bytes a parameter in full, 2 (0.5 in 4 bit) for LoRA, and a fifth on top."""
    count = row.architecture.parameter_count
    width = {"none": 2.0, "int8": 1.0, "gptq-int8": 1.0}.get(row.spec.precision.quantization, 0.5)
    return int(1.2 * count * (16 if row.spec.adaptation.method == "full" else width))


def accelerate_like(row: Row) -> int:
    """`accelerate estimate-memory`, "training with Adam": four times the model, whatever trains and however long rows are."""
    return 4 * row.architecture.parameter_count * 2


def deepspeed_like(row: Row) -> int:
    """DeepSpeed's ``estimate_zero2_model_states_mem_needs`` and ``estimate_zero3_…`` (stage_1_and_2.py, stage3.py): model states only.

    ZeRO-2: 2P + 18P/N; ZeRO-3: 18P/N + 4 bytes of the largest layer; per GPU, summed over GPUs here.
    """
    count, gpus = row.architecture.parameter_count, row.gpus
    if row.spec.parallelism.strategy == "zero3":
        return gpus * (18 * count // gpus + 4 * row.architecture.vocab * row.architecture.hidden)
    return gpus * (2 * count + 18 * count // gpus)


LLAMAFACTORY = {
    7: (120, 60, 16, 10, 6),
    14: (240, 120, 32, 20, 12),
    30: (600, 300, 64, 40, 24),
    70: (1200, 600, 160, 80, 48),
}
"""LLaMA-Factory's README "Hardware Requirement" in GB by size: full with AMP, full in 16 bit, LoRA in 16, 8 and 4 bit."""


def llamafactory_table(row: Row) -> int:
    """The README's table, between sizes in proportion to parameters."""
    full, kind = row.spec.adaptation.method == "full", row.spec.precision.quantization
    column = (
        (0 if row.spec.precision.master_weights else 1) if full else 2 if kind == "none" else 3 if "8" in kind else 4
    )
    billions = row.architecture.parameter_count / 1e9
    size = min(LLAMAFACTORY, key=lambda size: abs(size - billions))
    return int(LLAMAFACTORY[size][column] * billions / size * 1e9)


def ours(row: Row) -> int:
    found = row.predict()
    context = 0 if row.counts_context else found.ledger["runtime_context"]
    settled = found.settled_bytes if row.sampled else None
    return ((settled or found.total_bytes) - context) * row.gpus


RULES: dict[str, Callable[[Row], int]] = {
    "ours": ours,
    "naive rule": naive,
    "accelerate": accelerate_like,
    "DeepSpeed": deepspeed_like,
    "LLaMA-Factory": llamafactory_table,
}


def errors(rows: Iterable[Row], rule: Callable[[Row], int]) -> list[float]:
    return [100 * (rule(row) / row.measured - 1) for row in rows]


def spread(rows: list[Row], rule: Callable[[Row], int]) -> tuple[float, float]:
    """Median and 90th percentile of the absolute error in percent."""
    found = sorted(abs(error) for error in errors(rows, rule))
    return median(found), quantiles(found, n=10)[8] if len(found) > 1 else found[0]


def summary(label: str, rows: list[Row]) -> str:
    cells = [f"{label:44}{len(rows):4}"]
    for rule in RULES.values():
        middle, ninth = spread(rows, rule)
        cells.append(f"{middle:8.1f} {ninth:8.1f}")
    inside = 0
    for row in rows:
        low, high = row.predict().interval
        inside += low * row.gpus <= row.measured <= high * row.gpus
    return " |".join(cells) + f" | {inside}/{len(rows)}"


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else None
    try:
        rows, left_out = read_tables(folder)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}. Give the folder that has {' and '.join(OWN)}.", file=sys.stderr)
        return 2
    if not rows:
        print("None of these runs can be estimated:", file=sys.stderr)
        print("\n".join(f"{item.name}: {item.because}" for item in left_out), file=sys.stderr)
        return 1
    print(f"{'run':72}{'measured':>10}{'estimate':>10}{'error':>8}{'allocated error':>17}")
    for row in rows:
        found = row.predict()
        total = ours(row)
        peak = f"{100 * (found.allocated_bytes / row.allocated - 1):+.3f} %" if row.allocated else ""
        print(
            f"{row.name:72}{row.measured / GIB:10.2f}{total / GIB:10.2f}{100 * (total / row.measured - 1):+7.1f}%{peak:>17}"
        )
    heads = " |".join(f"{name:^17}" for name in RULES)
    print(f"\n{'absolute error in %: median, 90th percentile':48}{heads} | inside the interval")
    for label, fixed in (("rows of fixed length", True), ("rows of varying length", False)):
        alike = [row for row in rows if row.fixed_length is fixed]
        if alike:
            print(summary(label, alike))
    for key in ("source", "method", "model"):
        for value in sorted({getattr(row, key) for row in rows}):
            print(summary(f"{key}: {value}", [row for row in rows if getattr(row, key) == value]))
    print_left_out(left_out, len(rows))
    return 0


def print_left_out(left_out: list[LeftOut], taken: int) -> None:
    """The runs without an answer, by reason."""
    print(f"\nleft out: {len(left_out)} of {taken + len(left_out)} runs")
    for because in dict.fromkeys(item.because for item in left_out):
        print(f"{because}:")
        print("\n".join(f"  {item.name}" for item in left_out if item.because == because))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
