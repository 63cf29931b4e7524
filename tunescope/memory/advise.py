"""advise(spec, ...): what to change so that a fine-tune fits, or needs less, cheapest in speed and quality first.

Each suggestion is one change applied to the spec as it is, with the bytes it saves and its price in words. Patches are
dotted fields, so that several can be applied together; ``apply`` does it and checks the result. Where no single change
is enough, ``together`` names the cheapest few that are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tunescope.memory.architecture import Architecture
from tunescope.memory.capability import Lack, lack_of
from tunescope.memory.changes import Change, Patch, changes_for
from tunescope.memory.devices import DEVICES, Device
from tunescope.memory.estimate import MAX_TOKENS, Estimate, estimate
from tunescope.memory.expert_adapters import takes_no_dropout
from tunescope.memory.lengths import Lengths
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, patched

Language = Literal["en", "zh"]
WORTH = 8 * 1024**2
"""Savings below this many bytes are not worth a sentence."""
FEW = 8
"""Suggestions shown: the rest save less or cost more."""
LARGEST_BATCH = 4096
BATCH = "batch.per_device_train_batch_size"


@dataclass(frozen=True)
class Suggestion:
    change: Change
    bytes_saved: int
    total_bytes: int
    fits: bool


@dataclass(frozen=True)
class Together:
    """Several changes at once: the cheapest that fit, or all that help if none do."""

    changes: tuple[Change, ...]
    patch: Patch
    bytes_saved: int
    total_bytes: int
    fits: bool


@dataclass(frozen=True)
class Advice:
    """What to do, ranked, and the limits of the spec as it is."""

    fits: bool
    suggestions: tuple[Suggestion, ...]
    together: Together | None
    longest_max_length: int | None
    largest_batch: int | None
    cheapest_gpu: str | None
    """The cheapest of the catalogue that has the memory for the spec as it is, and can do what it asks for."""
    passed_over: tuple[tuple[str, Lack], ...]
    """Cheaper ones that would have the memory, and why they cannot run it."""
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
            "together": self.together
            and {
                "ids": [change.id for change in self.together.changes],
                "title": ("；" if index else "; ").join(change.title[index] for change in self.together.changes),
                "bytes_saved": self.together.bytes_saved,
                "total_bytes": self.together.total_bytes,
                "fits": self.together.fits,
                "patch": self.together.patch,
            },
            "longest_max_length": self.longest_max_length,
            "largest_batch": self.largest_batch,
            "cheapest_gpu": self.cheapest_gpu,
            "passed_over": [{"gpu": name, "because": lack.text[index]} for name, lack in self.passed_over],
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

    def tries(field: str) -> Callable[[int], bool]:
        return lambda value: at(patched(spec, {field: value})).fits

    now = at(spec)
    found = list(_helpful(spec, now, at, takes_no_dropout(spec, architecture, stack)))
    # Those that make it fit come first, then the cheaper, then the bigger saving.
    found.sort(key=lambda item: (not item.fits and not now.fits, item.change.cost, -item.bytes_saved))
    needs_several = not now.fits and not any(item.fits for item in found)
    return Advice(
        now.fits,
        tuple(found[:FEW]),
        _together(spec, now, found, at) if needs_several else None,
        _largest(tries("data.max_length"), 8, architecture_limit(architecture), spec.data.max_length, now.fits),
        _largest(tries(BATCH), 1, LARGEST_BATCH, spec.batch.per_device_train_batch_size, now.fits),
        *_cheapest(spec, lambda gpu: at(spec, gpu).fits),
        language,
    )


def _helpful(spec: JobSpec, now: Estimate, at: Callable[[JobSpec], Estimate], no_dropout: bool) -> Iterable[Suggestion]:
    for change in changes_for(spec, no_dropout):
        try:
            after = at(patched(spec, change.patch))
        except InvalidInput:
            continue
        saved = now.total_bytes - after.total_bytes
        if saved >= WORTH:
            yield Suggestion(change, saved, after.total_bytes, after.fits)


def _together(
    spec: JobSpec, now: Estimate, found: list[Suggestion], at: Callable[[JobSpec], Estimate]
) -> Together | None:
    """Add changes, cheapest first and biggest saving first among equals, until it fits; then leave out those not needed."""
    chosen: list[Change] = []
    best = now
    for item in sorted(found, key=lambda item: (item.change.cost, -item.bytes_saved)):
        after = _with(spec, [*chosen, item.change], at)
        if after is None or best.total_bytes - after.total_bytes < WORTH:
            continue
        chosen, best = [*chosen, item.change], after
        if best.fits:
            break
    for change in reversed(chosen[:-1]) if best.fits else ():
        fewer = [other for other in chosen if other is not change]
        after = _with(spec, fewer, at)
        if after is not None and after.fits:
            chosen, best = fewer, after
    if not chosen:
        return None
    return Together(tuple(chosen), merged(chosen), now.total_bytes - best.total_bytes, best.total_bytes, best.fits)


def _with(spec: JobSpec, changes: list[Change], at: Callable[[JobSpec], Estimate]) -> Estimate | None:
    try:
        return at(patched(spec, merged(changes)))
    except InvalidInput:
        return None


def merged(changes: Iterable[Change]) -> Patch:
    """One patch of several changes; where two set the same field the later one holds."""
    patch: Patch = {}
    for change in changes:
        patch.update(change.patch)
    return patch


def architecture_limit(architecture: Architecture) -> int:
    """The longest sequence worth trying: the model's positions where its config says so, else a million."""
    return architecture.max_positions or 1_048_576


def _largest(fits: Callable[[int], bool], low: int, high: int, asked: int, asked_fits: bool) -> int | None:
    """A number for which ``fits`` holds, but not for the next: by bisection, as tensors only grow with it.

    What lies cached between them does not always, so that in full training a smaller number may miss, or a larger one fit. What is
    ``asked`` for is on the side that its own estimate tells.
    """

    def holds(value: int) -> bool:
        try:
            return bool(fits(value))
        except InvalidInput:
            return False

    if asked_fits:
        low, high = asked, max(asked, high)
    elif asked <= low or not holds(low):
        return None
    else:
        high = min(high, asked - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return min(low, MAX_TOKENS)


def _cheapest(spec: JobSpec, fits: Callable[[Device], bool]) -> tuple[str | None, tuple[tuple[str, Lack], ...]]:
    """The cheapest GPU that runs it, and the cheaper ones that have the memory but lack something else."""
    passed_over: list[tuple[str, Lack]] = []
    for device in sorted(DEVICES.values(), key=lambda device: device.price_rank):
        if not fits(device):
            continue
        lack = lack_of(spec, device)
        if lack is None:
            return device.name, tuple(passed_over)
        passed_over.append((device.name, lack))
    return None, tuple(passed_over)
