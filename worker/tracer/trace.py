"""trace(spec, config): the exact memory of one training step on one GPU, from the real model on meta tensors."""

import time
from functools import cache
from importlib.metadata import version
from typing import Any

from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.estimate import MAX_TOKENS
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.memory.trace import Trace
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec
from worker.tracer.follower import Event
from worker.tracer.moments import MIDDLE
from worker.tracer.replay import replayed
from worker.tracer.step import TracedStep, Workload, as_on_cuda
from worker.tracer.stream import Recording, account, changes, closed_form_sites, highest_live

PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate")
STEADY_STEPS = 2
"""Steps replayed after the first: the allocator's cache has settled by then."""


def trace(
    spec: JobSpec,
    config: dict[str, Any],
    *,
    stack: Stack = DEFAULT,
    device: Device = DEFAULT_DEVICE,
) -> Trace:
    """Trace ``spec`` on the model of ``config`` (a config.json). Raises InvalidInput for what cannot be traced."""
    began = time.perf_counter()
    work = workload(spec)
    with as_on_cuda(work):
        recording = record(spec, config, stack, work, device.cublas_workspace_bytes)
    answer = _answer(recording, spec.memory_savers.expandable_segments)
    answer.assumption_sentences = _assumptions(spec, stack, work, device)
    answer.assumptions = [note.text for note in answer.assumption_sentences]
    answer.seconds = time.perf_counter() - began
    return answer


def workload(spec: JobSpec) -> Workload:
    """The longest micro batch that the spec allows: every row as long as ``max_length``."""
    sequence = spec.data.max_length
    batch = spec.batch.per_device_train_batch_size
    if batch * sequence > MAX_TOKENS:
        fix = f"stay under {MAX_TOKENS:,}"
        error = FieldError("data.max_length", f"{batch * sequence:,} tokens in one micro batch", fix)
        raise InvalidInput("These settings cannot be traced.", errors=[error])
    return Workload(batch, sequence, packed=spec.data.packing)


def record(spec: JobSpec, config: dict[str, Any], stack: Stack, work: Workload, workspace: int) -> Recording:
    """Run the load, a step's micro batches, and the optimizer twice: making its states, and with them."""
    step = TracedStep(spec, config, stack, work, workspace)
    events = step.follower.events
    assert events is not None
    step.register()
    step.make_optimizer()
    loaded = len(events)
    accumulation = spec.batch.gradient_accumulation_steps
    ahead = step.fetch(accumulation)
    # Every micro batch after the second is like it: the gradients are there.
    for _ in range(min(2, accumulation)):
        step.micro_batch()
    gradients, backward_end = step.gradient_ids(), len(events)
    step.update()
    updated = len(events)
    stand_ins = step.stand_in_gradients()
    second = len(events)
    step.update()
    recording = Recording(
        events[:loaded], events[loaded:backward_end], events[backward_end:updated], events[second:], gradients, stand_ins,
        step.largest_loading_bytes(),
    )  # fmt: skip
    del ahead
    return recording


def _answer(recording: Recording, expandable: bool) -> Trace:
    first = recording.first_step()
    steady = [recording.steady_step(number) for number in range(1, STEADY_STEPS + 1)]
    found = account([*recording.load, *first], steady[0])
    assert found.peak_event is not None
    backward_end = next(event for event in reversed(steady[0]) if event.phase == "backward")
    sites, middle = closed_form_sites(found.sites, _live_at(backward_end, steady[0], [*recording.load, *first]))
    sites["load"] = _live(recording.load) + recording.largest_loading_bytes
    peak_site = found.peak_event.site
    return Trace(
        peak_bytes=found.peak,
        peak_phase=found.peak_event.phase,
        peak_site=middle if peak_site == MIDDLE else peak_site,
        ledger={str(name): count for name, count in found.ledger.items()},
        sites=sites,
        first_step_peak_bytes=highest_live(_live(recording.load), first),
        replay=replayed(changes([*recording.load, *first, *steady[0]]), changes(steady[1]), expandable),
        timeline=found.timeline,
        versions=_versions(),
        seconds=0.0,
    )


@cache
def _versions() -> dict[str, str]:
    return {package: version(package) for package in PACKAGES}


def _live(events: list[Event]) -> int:
    return sum(event.bytes if event.kind == "malloc" else -event.bytes for event in events if event.kind != "retag")


def _live_at(last: Event, events: list[Event], before: list[Event]) -> int:
    return _live(before) + _live(events[: events.index(last) + 1])


def _assumptions(spec: JobSpec, stack: Stack, work: Workload, device: Device) -> list[Sentence]:
    rows, tokens = work.shape
    notes = [say("library_versions", stack=stack.title), say("longest_batch", rows=rows, tokens=tokens)]
    notes.append(say("cublas_workspaces", device=device.name, size=device.cublas_workspace_bytes))
    if spec.memory_savers.fused_loss:
        notes.append(say("every_label_counts"))
    if spec.precision.quantization == "int8":
        notes.append(say("no_outliers"))
    if spec.optimizer.name.startswith("paged"):
        notes.append(say("paged_not_counted"))
    return notes
