"""explain(a, b): the difference of two totals, attributed to the sections of the job spec, exactly and fairly.

Exact Shapley values: each section's part is its average effect over every order in which sections can be switched from A
to B, so no order is favoured; parts are whole bytes and sum exactly. Differences that no section holds (another model,
GPU, library versions or data set) are named apart. Each part carries a sentence made from the terms that moved.
"""

from dataclasses import dataclass, replace
from math import factorial
from typing import Any, Literal

from tunescope.memory.architecture import Architecture
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.differences import read_by_estimates
from tunescope.memory.estimate import Estimate, estimate, largest_rank
from tunescope.memory.ledger import CATEGORIES, MemoryLedger
from tunescope.memory.lengths import Lengths
from tunescope.memory.persistent import saved_module
from tunescope.memory.sentences import because, site_name, unchanged
from tunescope.memory.shapley import shapley, whole_bytes
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.memory.turning import LengthPoint, by_length, turning_sentence
from tunescope.problems import InvalidInput
from tunescope.spec import SECTIONS, JobSpec

Language = Literal["en", "zh"]
OTHER = ("model", "libraries", "device")
"""Differences outside the seven sections: only listed when they exist."""


@dataclass(frozen=True)
class Subject:
    """One side: a spec with all that its estimate needs, and what was measured, if it ran."""

    name: str
    spec: JobSpec
    architecture: Architecture
    device: Device = DEFAULT_DEVICE
    lengths: Lengths | None = None
    stack: Stack = DEFAULT
    measured_bytes: int | None = None


@dataclass(frozen=True)
class Part:
    """One section's share of the difference (b minus a), in bytes."""

    section: str
    bytes: int
    because: str


@dataclass(frozen=True)
class Explanation:
    a: Subject
    b: Subject
    estimate_a: Estimate
    estimate_b: Estimate
    parts: tuple[Part, ...]
    site_note: str
    lengths: tuple[LengthPoint, ...]
    turning: str
    """Where the answer turns round with the length, in words; "" where it does not."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": _side(self.a, self.estimate_a),
            "b": _side(self.b, self.estimate_b),
            "difference_bytes": self.estimate_b.total_bytes - self.estimate_a.total_bytes,
            "sections": [
                {"section": part.section, "bytes": part.bytes, "because": part.because} for part in self.parts
            ],
            "note": self.site_note,
            "turning": self.turning,
            "by_length": [
                {"tokens": point.tokens, "a_bytes": point.a_bytes, "b_bytes": point.b_bytes} for point in self.lengths
            ],
            "measured": self._measured(),
        }

    def _measured(self) -> dict[str, int] | None:
        if self.a.measured_bytes is None or self.b.measured_bytes is None:
            return None
        difference = self.b.measured_bytes - self.a.measured_bytes
        predicted = self.estimate_b.total_bytes - self.estimate_a.total_bytes
        return {
            "a_bytes": self.a.measured_bytes,
            "b_bytes": self.b.measured_bytes,
            "difference_bytes": difference,
            "unexplained_bytes": difference - predicted,
        }


def explain(a: Subject, b: Subject, language: Language = "en") -> Explanation:
    """Attribute ``b``'s total minus ``a``'s to sections. Raises InvalidInput if either side cannot be estimated."""
    players = [name for name in (*SECTIONS, *OTHER) if _differs(name, a, b)]
    count = len(players)
    before, after = _estimate_side(a), _estimate_side(b)
    mixed = [_estimate_mixed(a, b, _chosen(players, mask)) for mask in range(1, (1 << count) - 1)]
    found = [before, *mixed, after] if players else [before]
    values = [(item.total_bytes, *(item.ledger[category] for category in CATEGORIES)) for item in found]
    exact, orders = shapley(count, values), factorial(count)
    whole = whole_bytes([part[0] for part in exact], orders, after.total_bytes - before.total_bytes)
    parts: list[Part] = []
    for name in (*SECTIONS, *(other for other in OTHER if other in players)):
        if name not in players:
            parts.append(Part(name, 0, unchanged(name, a, b, language)))
            continue
        index = players.index(name)
        moved = MemoryLedger(
            {category: part // orders for category, part in zip(CATEGORIES, exact[index][1:], strict=True)}
        )
        trained = before.trainable_parameters, after.trainable_parameters
        parts.append(Part(name, whole[index], because(name, a, b, trained, moved, language)))
    points = by_length(a, b)
    note = _site_note(before, after, language)
    return Explanation(a, b, before, after, tuple(parts), note, points, turning_sentence(points, language))


def _chosen(players: list[str], mask: int) -> frozenset[str]:
    return frozenset(name for index, name in enumerate(players) if mask >> index & 1)


def _side(subject: Subject, found: Estimate) -> dict[str, Any]:
    return {
        "name": subject.name,
        "total_bytes": found.total_bytes,
        "ledger": found.ledger.to_dict(),
        "site": found.site,
        "measured_bytes": subject.measured_bytes,
    }


def _differs(name: str, a: Subject, b: Subject) -> bool:
    if name == "model":
        return replace(a.architecture, name="") != replace(b.architecture, name="")
    if name == "libraries":
        return a.stack != b.stack
    if name == "device":
        return a.device != b.device
    if name == "data" and a.lengths != b.lengths:
        return True
    return read_by_estimates(a.spec, name) != read_by_estimates(b.spec, name)


def _estimate_side(subject: Subject) -> Estimate:
    return estimate(subject.spec, subject.architecture, subject.device, subject.lengths, subject.stack)


def _estimate_mixed(a: Subject, b: Subject, switched: frozenset[str]) -> Estimate:
    """The estimate with ``switched`` taken from b and the rest from a.

    A mixture may be a spec that the form would refuse (full training of quantized weights, several GPUs without a
    strategy): it is still a number on the way between two valid specs, so sections are combined without that check.
    """

    def side(name: str) -> Subject:
        return b if name in switched else a

    sections = {name: getattr(side(name).spec, name) for name in SECTIONS}
    architecture = side("model").architecture
    spec = _fitting(a.spec.model_copy(update=sections), architecture)
    return estimate(
        spec, architecture, side("device").device, side("data").lengths, side("libraries").stack, limited=False
    )


def _fitting(spec: JobSpec, architecture: Architecture) -> JobSpec:
    """Module names and ranks of one model mean little in another: names that match nothing become all-linear or go, ranks are capped."""
    adaptation = spec.adaptation
    targets = adaptation.target_modules
    linears = [linear for layer in architecture.layers for linear in layer.linears]
    if targets != "all-linear" and not any(linear.matches(target) for target in targets for linear in linears):
        targets = "all-linear"
    saved = [module for module in adaptation.modules_to_save if _has_module(module, architecture)]
    fitted = adaptation.model_copy(update={"target_modules": targets, "modules_to_save": saved})
    spec = spec.model_copy(update={"adaptation": fitted})
    rank = largest_rank(spec, architecture) if fitted.method == "lora" else fitted.r
    if rank >= fitted.r:
        return spec
    return spec.model_copy(update={"adaptation": fitted.model_copy(update={"r": rank})})


def _has_module(module: str, architecture: Architecture) -> bool:
    try:
        saved_module(module, architecture, 1)
    except InvalidInput:
        return False
    return True


def _site_note(before: Estimate, after: Estimate, language: Language) -> str:
    if before.site == after.site:
        text = "Both peak at {0}." if language == "en" else "两者的峰值都出现在{0}。"
        return text.format(site_name(before.site, language))
    text = "The peak moves from {0} to {1}." if language == "en" else "峰值从{0}移到{1}。"
    return text.format(site_name(before.site, language), site_name(after.site, language))
