"""Predicted against measured memory on this machine's GPU: ``python -m benchmarks.gpu_accuracy [--models …] [--quick]``.

Every cell of the matrix (method × quantization × length × checkpointing × attention, by model) is a real attempt of the real trainer
in a process of its own, on random weights of a public model's dimensions: no network. Prints a line a cell and writes
``benchmarks/results/gpu-<device>.json`` with both ledgers, device and versions after each, so that an interrupted run keeps what it has.
Without CUDA it says so and measures nothing. ``--on-cpu`` runs the cells there all the same, to try the benchmark itself: a CPU's
figures are no VRAM, and are not written.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.gpu_models import ROWS, save_rows
from tunescope.events import JobEvent, LedgerEvent, PlanEvent, StateEvent, StepEvent
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEFAULT_DEVICE, Device, device_named
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.lengths import Lengths
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec
from tunescope.units import format_bytes
from worker.outbox import read_events
from worker.probes.nvml import Gpu, Nvml
from worker.probes.nvml_memory import Memory
from worker.probes.reading import Unknown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MODELS = ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-7B")
METHODS = (("lora", "none"), ("lora", "int8"), ("lora", "nf4"), ("full", "none"))
LENGTHS = (512, 2048, 4096)
ATTENTION = ("sdpa", "eager")
STEPS = 6
"""The first three are followed tensor by tensor (worker/trainer/ledger); the peak is taken from those after them."""
CELL_SECONDS = 900


@dataclass(frozen=True)
class Cell:
    """One recipe on one model."""

    model: str
    method: str
    quantization: str
    length: int
    checkpointing: bool
    attention: str

    def spec(self) -> JobSpec:
        return parse_spec(
            {
                "name": self.name(),
                "model": {"id": self.model, "source": "library"},
                "adaptation": {"method": self.method},
                "precision": {"quantization": self.quantization},
                "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1},
                "data": {"dataset": "rows", "max_length": self.length, "assistant_only_loss": False},
                "memory_savers": {"gradient_checkpointing": self.checkpointing, "attention": self.attention},
                "schedule": {"max_steps": STEPS, "save_steps": 10 * STEPS},
            }
        )

    def name(self) -> str:
        checkpointing = "checkpointed" if self.checkpointing else "kept"
        return f"{self.model.split('/')[-1]} {self.method} {self.quantization} {self.length} {checkpointing} {self.attention}"


def matrix(models: Sequence[str], quick: bool) -> Iterator[Cell]:
    """All cells; a quick look takes the corners of one length."""
    lengths, attention = (LENGTHS[:1], ATTENTION[:1]) if quick else (LENGTHS, ATTENTION)
    for model, (method, quantization), length, checkpointing, kernel in product(
        models, METHODS, lengths, (True, False), attention
    ):
        yield Cell(model, method, quantization, length, checkpointing, kernel)


def device_here() -> tuple[Device, Gpu] | str:
    """The first GPU as the VRAM model knows it, with its total as NVML tells it; or why there is none.

    Asked without CUDA, so that this process holds nothing of the memory that is measured.
    """
    gpus = Nvml().gpus()
    if isinstance(gpus, Unknown):
        return gpus.because
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = [gpu for gpu in gpus if not gpu.divided and gpu.unusable_because is None]
    if visible is not None:
        chosen = [gpu for gpu in chosen if visible.split(",")[0] in (gpu.uuid, str(gpu.index))]
    if not chosen:
        return "NVML lists no GPU that can be used"
    gpu = chosen[0]
    if not isinstance(gpu.memory, Memory):
        return f"the size of {gpu.name} is unknown: {gpu.memory.because}"
    try:
        known = device_named(gpu.name)
    except InvalidInput:
        known = DEFAULT_DEVICE
    return replace(known, name=gpu.name, total_bytes=gpu.memory.total), gpu


def predicted(cell: Cell, device: Device) -> dict[str, Any]:
    exact = Lengths(median=cell.length, p95=cell.length, longest=cell.length)
    found: Estimate = estimate(cell.spec(), catalogue(cell.model), device, exact)
    return {
        "ledger": found.to_dict()["ledger"],
        "total_bytes": found.total_bytes,
        "interval": list(found.interval),
        "allocated_bytes": found.allocated_bytes,
        "site": found.site,
    }


def run(cell: Cell, weights: Path, gpu: Gpu | None) -> dict[str, Any]:
    """Train a cell with the real trainer; what it told of memory."""
    with tempfile.TemporaryDirectory(prefix="tunescope-gpu-") as name:
        root = Path(name)
        save_rows(root / "datasets" / "rows.jsonl", cell.length)
        folder = root / "jobs" / "cell" / "1"
        folder.mkdir(parents=True)
        order = {
            "job": "cell",
            "attempt": 1,
            "fence": 1,
            "spec": cell.spec().model_dump(mode="json"),
            "gpus": [gpu.uuid] if gpu else [],
            "dataset": {"name": "rows", "path": "datasets/rows.jsonl", "sha256": "", "rows": ROWS},
            "model": {"kind": "path", "location": str(weights)},
        }
        (folder / "order.json").write_text(json.dumps(order))
        environment = os.environ | {
            "TUNESCOPE_DATA_DIR": name,
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": gpu.uuid if gpu else "",
        }
        command = [sys.executable, "-m", "worker.trainer", str(folder / "order.json")]
        with (folder / "trainer.log").open("wb") as log:
            try:
                # In a group of its own, as under the worker: NVML's figure of a job is that of its process group.
                subprocess.run(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=log, timeout=CELL_SECONDS,
                    check=False, start_new_session=True,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return {"failure": f"not done within {CELL_SECONDS} s"}
        return measured(list(read_events(folder)), (folder / "trainer.log").read_text(errors="replace"))


def measured(events: list[JobEvent], log: str) -> dict[str, Any]:
    """Peaks over the steps that were not followed, and the newest followed ledger."""
    steps = [event for event in events if isinstance(event, StepEvent)]
    ended = [event for event in events if isinstance(event, StateEvent)]
    if not ended or ended[-1].state != "succeeded":
        failure = ended[-1].failure if ended else None
        return {"failure": failure.model_dump(mode="json") if failure else log[-2000:]}
    settled = steps[STEPS // 2 :]
    sources = {figure.source for step in settled for figure in step.memory}
    peaks: dict[str, int | None] = {}
    unknown: dict[str, str] = {}
    for source in sorted(sources):
        figures = [figure for step in settled for figure in step.memory if figure.source == source]
        known = [max(figure.bytes, figure.peak_bytes or 0) for figure in figures if figure.bytes is not None]
        peaks[source] = max(known, default=None)
        if not known:
            unknown[source] = figures[-1].unknown_because or "unknown"
    ledgers = [event for event in events if isinstance(event, LedgerEvent)]
    plan = next((event for event in events if isinstance(event, PlanEvent)), None)
    return {
        "peak_bytes": peaks,
        "unknown": unknown,
        "ledger": ledgers[-1].categories if ledgers else None,
        "outside": [figure.model_dump(mode="json") for figure in ledgers[-1].outside] if ledgers else [],
        "step_seconds": [step.step_seconds for step in steps],
        "versions": plan.versions if plan else {},
    }


def error_of(prediction: int, measurement: int | None) -> float | None:
    """Relative error; None where nothing was measured."""
    return None if not measurement else (prediction - measurement) / measurement


def row_of(cell: Cell, device: Device, weights: Path, gpu: Gpu | None) -> dict[str, Any]:
    told = predicted(cell, device)
    if gpu and told["interval"][0] > device.total_bytes:
        return {"cell": asdict(cell), "predicted": told, "skipped": "does not fit this GPU by the estimate"}
    found = run(cell, weights, gpu)
    peaks = found.get("peak_bytes", {})
    errors = {
        "allocated": error_of(told["allocated_bytes"], peaks.get("torch.allocated")),
        "process": error_of(told["total_bytes"], peaks.get("nvml.process")),
    }
    return {"cell": asdict(cell), "predicted": told, "measured": found, "relative_error": errors}


def line_of(cell: Cell, row: dict[str, Any]) -> str:
    told = row["predicted"]
    if "skipped" in row:
        return f"{cell.name()}: {row['skipped']} ({format_bytes(told['total_bytes'])})"
    found = row["measured"]
    if "failure" in found:
        failure = found["failure"]
        return f"{cell.name()}: failed: {failure['detail'] if isinstance(failure, dict) else failure}"
    parts = [f"{source} {format_bytes(peak)}" for source, peak in found["peak_bytes"].items() if peak is not None]
    errors = [f"{name} {100 * error:+.2f} %" for name, error in row["relative_error"].items() if error is not None]
    return (
        f"{cell.name()}: predicted allocated {format_bytes(told['allocated_bytes'])}, "
        f"total {format_bytes(told['total_bytes'])}; measured {', '.join(parts)}; error {', '.join(errors) or 'unknown'}"
    )


def prepare(model: str, folder: Path) -> Path:
    """Random weights of a model, made once, in a process of their own."""
    target = folder / model.replace("/", "--")
    if not (target / "config.json").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.gpu_models", model, str(target)], cwd=ROOT, check=True)
    return target


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Predicted against measured memory on this machine's GPU.")
    parser.add_argument("--models", nargs="+", default=MODELS, help="names in the catalogue")
    parser.add_argument("--quick", action="store_true", help="one length, one attention kernel")
    parser.add_argument("--on-cpu", action="store_true", help="try the benchmark itself without a GPU")
    parser.add_argument("--weights", type=Path, default=Path(tempfile.gettempdir()) / "tunescope-random-weights")
    args = parser.parse_args(words)
    here = device_here()
    if isinstance(here, str) and not args.on_cpu:
        print(f"Skipped: {here}. This benchmark measures VRAM, so it needs an NVIDIA GPU.")
        return 0
    device, gpu = (DEFAULT_DEVICE, None) if isinstance(here, str) or args.on_cpu else here
    cells = list(matrix(args.models, args.quick))
    document: dict[str, Any] = {
        "device": {"name": device.name, "total_bytes": device.total_bytes} if gpu else "CPU: no VRAM figures",
        "driver": Nvml().versions() if gpu else {},
        "python": platform.python_version(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rows": [],
    }
    for cell in cells:
        row = row_of(cell, device, prepare(cell.model, args.weights), gpu)
        document["rows"].append(row)
        print(line_of(cell, row), flush=True)
        if gpu:
            RESULTS.mkdir(exist_ok=True)
            name = "-".join(device.name.lower().split())
            (RESULTS / f"gpu-{name}.json").write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
