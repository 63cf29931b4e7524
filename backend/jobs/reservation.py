"""How much memory of each GPU is kept for a job: what was predicted until enough was measured, plus its margin."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from backend.jobs.tables import JobRow
from tunescope.events import gpu_of_source
from tunescope.stored_spec import stored_spec

PROVEN_STEPS = 20
PROVEN_SHARE = 0.1
"""Once a run has made this many steps and this share of all, its measured peak may be taken for less than was predicted: batches
of every length have come by then, as far as chance allows."""


def reserve(predicted: int | None, measured: int | None, margin: float, *, proven: bool) -> int | None:
    """Bytes to keep on each GPU. A measured peak above the prediction always counts, one below it once it is ``proven``."""
    known = [value for value in (predicted, measured) if value is not None]
    if not known:
        return None
    base = measured if proven and measured is not None else max(known)
    return int(base * (1 + margin))


def reservation(row: JobRow) -> int | None:
    """Bytes to keep for a job on each of its GPUs; None where nothing is known of it."""
    spec = stored_spec(row.spec)
    estimate = row.estimate or {}
    total = estimate.get("least_bytes", estimate.get("total_bytes"))
    predicted = total if isinstance(total, int) else None
    proven = row.step >= max(PROVEN_STEPS, PROVEN_SHARE * (row.total_steps or 0))
    return reserve(predicted, row.peak_gpu_bytes, spec.placement.gpu_memory_margin, proven=proven)


def predicted_context(estimate: Mapping[str, Any] | None) -> int | None:
    """Bytes of the CUDA context in an estimate."""
    context = ((estimate or {}).get("ledger") or {}).get("runtime_context")
    return context if isinstance(context, int) else None


class Figure(Protocol):
    """One figure of memory: of a step's event, or as much of it as the recorder reads."""

    @property
    def source(self) -> str: ...
    @property
    def bytes(self) -> int | None: ...
    @property
    def peak_bytes(self) -> int | None: ...


class Measured(Protocol):
    """What tells the memory of a step."""

    @property
    def memory(self) -> Sequence[Figure]: ...


def highest(peak: int | None, steps: Iterable[Measured], context: int | None) -> int | None:
    """The most that a process was measured to hold of its GPU in ``steps`` or, by ``peak``, before."""
    # Steps that know the same sources are met by the highest of each: there are ten thousand a second.
    alike: dict[tuple[str, ...], dict[str, int]] = {}
    for step in steps:
        known = [figure for figure in step.memory if figure.bytes is not None]
        peaks = alike.setdefault(tuple([figure.source for figure in known]), {})
        for figure in known:
            held = max(figure.bytes or 0, figure.peak_bytes or 0)
            if held > peaks.get(figure.source, -1):
                peaks[figure.source] = held
    found = [peak, *(held_of_gpu(peaks, context) for peaks in alike.values())]
    return max((held for held in found if held is not None), default=None)


def held_of_gpu(peaks: Mapping[str, int], context: int | None) -> int | None:
    """What a job held of its GPU, by who measured it: as the driver says, else torch's cache and the predicted context.

    Of several, the one of which it held most.
    """
    of_gpus: dict[int, dict[str, int]] = {}
    for source, peak in peaks.items():
        gpu, who = gpu_of_source(source)
        of_gpus.setdefault(gpu, {})[who] = peak

    def held(of_gpu: Mapping[str, int]) -> int | None:
        process, cache = of_gpu.get("nvml.process"), of_gpu.get("torch.reserved")
        if process is not None:
            return process
        return None if cache is None or context is None else cache + context

    return max((found for of_gpu in of_gpus.values() if (found := held(of_gpu)) is not None), default=None)
