"""Predicted against measured memory on this machine's GPU: ``python -m benchmarks.gpu_accuracy [--minutes N] [--models …] [--quick]``.

Every cell of the matrix (method × quantization × length × checkpointing × attention, by model) is a real attempt of the real trainer
in a process of its own, on random weights of a public model's dimensions: no network. The most telling come first: one recipe, then
those that differ from it in one setting, then in two. Prints a line a cell and writes ``gpu-<device>.json`` with both ledgers, device
and versions after each, so that a run that is cut off keeps what it has. ``--minutes`` ends it in time: a cell that would
not be done by then is ended and said to be so. Without CUDA it says so and measures nothing. ``--on-cpu`` runs the cells there all
the same, to try the benchmark itself: a CPU's figures are no VRAM, and are not written.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.gpu_models import ROWS, save_rows
from tunescope.events import JobEvent, LedgerEvent, PlanEvent, StateEvent, StepEvent
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.lengths import Lengths
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec
from tunescope.units import format_bytes
from worker.allocator_settings import with_segments
from worker.outbox import read_events
from worker.probes.nvml import Gpu, Nvml
from worker.probes.nvml_memory import Memory
from worker.probes.reading import Unknown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# The first of each is the recipe that the order of the cells begins with.
MODELS = ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-0.5B-Instruct")
METHODS = (("lora", "none"), ("lora", "nf4"), ("full", "none"), ("lora", "int8"))
LENGTHS = (2048, 512, 4096)
CHECKPOINTING = (True, False)
ATTENTION = ("sdpa", "eager")
STEPS = 6
"""The first three are followed tensor by tensor (worker/trainer/ledger); the peak is taken from those after them."""
CELL_SECONDS = 300
WEIGHTS_SECONDS = 300
SHORTEST_CELL_SECONDS = 20
"""With less time left no cell is begun: loading the libraries takes half of it."""
LOOK_SECONDS = 0.2
NEEDED = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes")


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
                # One more than is measured: after its last step an attempt saves, which costs time and disk and tells nothing.
                "schedule": {"max_steps": STEPS + 1, "save_steps": 10 * STEPS},
            }
        )

    def name(self) -> str:
        checkpointing = "checkpointed" if self.checkpointing else "kept"
        return f"{self.model.split('/')[-1]} {self.method} {self.quantization} {self.length} {checkpointing} {self.attention}"


def matrix(models: Sequence[str], quick: bool) -> list[Cell]:
    """All cells, the most telling first: ordered by the number of settings in which they differ from the first.

    A quick look takes the corners of one length.
    """
    lengths, attention = (LENGTHS[:1], ATTENTION[:1]) if quick else (LENGTHS, ATTENTION)
    axes = (models, METHODS, lengths, CHECKPOINTING, attention)
    places = sorted(product(*(range(len(axis)) for axis in axes)), key=lambda place: sum(at > 0 for at in place))
    return [
        Cell(models[model], *METHODS[method], lengths[length], CHECKPOINTING[saving], attention[kernel])
        for model, method, length, saving, kernel in places
    ]


def missing_packages() -> list[str]:
    """What the trainer imports and this Python lacks."""
    return [name for name in NEEDED if find_spec(name) is None]


def device_here() -> tuple[Device, Gpu] | str:
    """The first GPU as the VRAM model knows it, with its total as NVML tells it; or why there is none.

    Asked without CUDA, so that this process holds nothing of the memory that is measured.
    """
    gpus = Nvml().gpus()
    if isinstance(gpus, Unknown):
        return gpus.because
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = [gpu for gpu in gpus if not gpu.divided and gpu.unusable is None]
    if visible is not None:
        chosen = [gpu for gpu in chosen if visible.split(",")[0] in (gpu.uuid, str(gpu.index))]
    if not chosen:
        return "NVML lists no GPU that can be used"
    gpu = chosen[0]
    if not isinstance(gpu.memory, Memory):
        return f"the size of {gpu.name} is unknown: {gpu.memory.because}"
    capability = None if isinstance(gpu.compute_capability, Unknown) else gpu.compute_capability
    return Device(gpu.name, gpu.memory.total, capability=capability), gpu


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


def environment_on(gpu: Gpu | None) -> dict[str, str]:
    """For a process that is to use this GPU alone, and no network."""
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": gpu.uuid if gpu else "",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def run(cell: Cell, weights: Path, gpu: Gpu | None, seconds: float) -> dict[str, Any]:
    """Train a cell with the real trainer, for at most so many seconds; what it told of memory."""
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
        expandable = cell.spec().memory_savers.expandable_segments
        environment = with_segments(environment_on(gpu), expandable) | {"TUNESCOPE_DATA_DIR": name}
        command = [sys.executable, "-m", "worker.trainer", str(folder / "order.json")]
        with (folder / "trainer.log").open("wb") as log:
            # In a group of its own, as under the worker: NVML's figure of a job is that of its process group.
            trainer = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                in_time = _wait_for_steps(trainer, folder, time.monotonic() + seconds)
            finally:
                _end(trainer)
        found = measured(list(read_events(folder)), (folder / "trainer.log").read_text(errors="replace"))
        if in_time or "failure" not in found:
            return found
        return {"failure": f"not done within {seconds:.0f} s"}


def _wait_for_steps(trainer: "subprocess.Popen[bytes]", folder: Path, until: float) -> bool:
    """Wait until the steps that are measured are told or the attempt has ended; False if the time was over first."""
    while trainer.poll() is None:
        if len(_steps(read_events(folder))) >= STEPS:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _end(trainer: "subprocess.Popen[bytes]") -> None:
    """End the attempt with all that it started, so that the next one finds the GPU free."""
    if trainer.poll() is None:
        os.killpg(trainer.pid, signal.SIGKILL)
    trainer.wait()


def _steps(events: Iterable[JobEvent]) -> list[StepEvent]:
    return [event for event in events if isinstance(event, StepEvent)]


def measured(events: list[JobEvent], log: str) -> dict[str, Any]:
    """Peaks over the steps that were not followed, and the newest followed ledger."""
    steps = _steps(events)[:STEPS]
    if len(steps) < STEPS:
        failure = next((event.failure for event in events if isinstance(event, StateEvent) and event.failure), None)
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
        "site": ledgers[-1].peak_site if ledgers else None,
        "unfollowed_bytes": ledgers[-1].unfollowed_bytes if ledgers else None,
        "outside": [figure.model_dump(mode="json") for figure in ledgers[-1].outside] if ledgers else [],
        "step_seconds": [step.step_seconds for step in steps],
        "versions": plan.versions if plan else {},
    }


def error_of(prediction: int, measurement: int | None) -> float | None:
    """Relative error; None where nothing was measured."""
    return None if not measurement else (prediction - measurement) / measurement


def over_idle(device_peak: int | None, gpu: Gpu | None) -> int | None:
    """What the GPU held more than before anything ran: the process's bytes too where nobody else uses it, and the only figure in a
    container whose driver tells no processes."""
    if device_peak is None or gpu is None or not isinstance(gpu.memory, Memory):
        return None
    return device_peak - gpu.memory.used


def row_of(cell: Cell, device: Device, folder: Path, gpu: Gpu | None, until: float) -> dict[str, Any]:
    """One cell, predicted and measured; ``until`` is when the whole run has to be done, by ``time.monotonic``."""
    told = predicted(cell, device)
    if gpu and told["interval"][0] > device.total_bytes:
        return {"cell": asdict(cell), "predicted": told, "skipped": "does not fit this GPU by the estimate"}
    weights = prepare(cell.model, folder, gpu, min(WEIGHTS_SECONDS, until - time.monotonic()))
    if isinstance(weights, Path):
        found = run(cell, weights, gpu, min(CELL_SECONDS, until - time.monotonic()))
    else:
        found = {"failure": f"no random weights of {cell.model}: {weights}"}
    peaks = found.get("peak_bytes", {})
    errors = {
        "allocated": error_of(told["allocated_bytes"], peaks.get("torch.allocated")),
        "process": error_of(told["total_bytes"], peaks.get("nvml.process")),
        "device": error_of(told["total_bytes"], over_idle(peaks.get("nvml.device"), gpu)),
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


def prepare(model: str, folder: Path, gpu: Gpu | None, seconds: float) -> Path | str:
    """Random weights of a model, made once, in a process of their own on the GPU that is measured; or why there are none."""
    target = folder / model.replace("/", "--")
    if target.exists():
        return target
    # Whole or not there at all: an interrupted run leaves nothing that a later one would take for weights.
    unfinished = target.with_name(f"{target.name}.unfinished")
    command = [sys.executable, "-m", "benchmarks.gpu_models", model, str(unfinished)]
    try:
        made = subprocess.run(
            command,
            cwd=ROOT,
            env=environment_on(gpu),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=max(seconds, 0),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {seconds:.0f} s"
    if made.returncode:
        return (made.stderr.strip().splitlines() or [f"exit status {made.returncode}"])[-1]
    unfinished.rename(target)
    return target


def save(document: dict[str, Any], folder: Path, device: Device) -> Path:
    """Write all rows so far; whoever is interrupted here keeps the file of the row before."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"gpu-{'-'.join(device.name.lower().split())}.json"
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(document, indent=1))
    unfinished.replace(target)
    return target


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Predicted against measured memory on this machine's GPU.")
    parser.add_argument("--models", nargs="+", default=MODELS, help="names in the catalogue, the most telling first")
    parser.add_argument("--quick", action="store_true", help="one length, one attention kernel")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="be done by then; as long as it takes if not given"
    )
    parser.add_argument("--on-cpu", action="store_true", help="try the benchmark itself without a GPU")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    parser.add_argument("--weights", type=Path, default=Path(tempfile.gettempdir()) / "tunescope-random-weights")
    args = parser.parse_args(words)
    try:
        for model in args.models:
            catalogue(model)
    except InvalidInput as error:
        parser.error(f"--models {model}: {error}")
    until = time.monotonic() + 60 * args.minutes
    here = device_here()
    if isinstance(here, str) and not args.on_cpu:
        print(f"Skipped: {here}. This benchmark measures VRAM, so it needs an NVIDIA GPU.")
        return 0
    missing = missing_packages()
    if missing:
        print(f"Skipped: {sys.executable} lacks {', '.join(missing)}. Install the packages of constraints.txt first.")
        return 0
    device, gpu = (DEFAULT_DEVICE, None) if isinstance(here, str) or args.on_cpu else here
    cells = matrix(args.models, args.quick)
    document: dict[str, Any] = {
        "device": {"name": device.name, "total_bytes": device.total_bytes} if gpu else "CPU: no VRAM figures",
        "driver": Nvml().versions() if gpu else {},
        "python": platform.python_version(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rows": [],
    }
    for number, cell in enumerate(cells):
        if until - time.monotonic() < SHORTEST_CELL_SECONDS:
            print(f"The time is over: {len(cells) - number} of {len(cells)} cells were not begun.")
            break
        row = row_of(cell, device, args.weights, gpu, until)
        document["rows"].append(row)
        print(line_of(cell, row), flush=True)
        if gpu:
            save(document, args.results, device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
