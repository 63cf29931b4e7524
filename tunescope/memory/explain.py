"""explain(a, b): the difference of two totals, attributed to the sections of the job spec, exactly and fairly.

Exact Shapley values: each section's part is its average effect over every order in which sections can be switched from A
to B, so no order is favoured; parts are whole bytes and sum exactly. Differences that no section holds (another model,
GPU, library versions or data set) are named apart. Each part carries a sentence made from the terms that moved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import factorial
from typing import Any, Literal

from tunescope.memory.architecture import Architecture
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.ledger import CATEGORIES, Category, MemoryLedger
from tunescope.memory.lengths import Lengths
from tunescope.memory.sentences import because, site_name
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.problems import Problem
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

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": _side(self.a, self.estimate_a),
            "b": _side(self.b, self.estimate_b),
            "difference_bytes": self.estimate_b.total_bytes - self.estimate_a.total_bytes,
            "sections": [
                {"section": part.section, "bytes": part.bytes, "because": part.because} for part in self.parts
            ],
            "note": self.site_note,
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

    @cache
    def at(switched: frozenset[str]) -> Estimate:
        return _estimate_mixed(a, b, switched)

    before, after = at(frozenset()), at(frozenset(players))
    exact = {name: _shapley(name, players, lambda names: at(names).total_bytes) for name in players}
    whole = _largest_remainder(exact, after.total_bytes - before.total_bytes)
    shown = [name for name in (*SECTIONS, *OTHER) if name in SECTIONS or name in players]
    parts: list[Part] = []
    for name in shown:
        moved = MemoryLedger()
        if name in players:
            moved = _average_move(name, players, at)
        parts.append(
            Part(name, whole.get(name, 0), because(name, a, b, before, after, moved, name in players, language))
        )
    return Explanation(a, b, before, after, tuple(parts), _site_note(before, after, language))


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
        return a.architecture != b.architecture
    if name == "libraries":
        return a.stack != b.stack
    if name == "device":
        return a.device != b.device
    same = getattr(a.spec, name) == getattr(b.spec, name)
    return not same or (name == "data" and a.lengths != b.lengths)


def _estimate_mixed(a: Subject, b: Subject, switched: frozenset[str]) -> Estimate:
    """The estimate with ``switched`` taken from b and the rest from a.

    A mixture may be a spec that the form would refuse (full training of quantized weights, several GPUs without a
    strategy): it is still a number on the way between two valid specs, so sections are combined without that check.
    """

    def side(name: str) -> Subject:
        return b if name in switched else a

    sections = {name: getattr(side(name).spec, name) for name in SECTIONS}
    sections["adaptation"] = _fitting_targets(sections["adaptation"], side("model").architecture)
    spec = a.spec.model_copy(update=sections)
    return estimate(
        spec, side("model").architecture, side("device").device, side("data").lengths, side("libraries").stack
    )


def _fitting_targets(adaptation: Any, architecture: Architecture) -> Any:
    """Module names of one model mean nothing in another: between models, names that match nothing become all-linear."""
    targets = adaptation.target_modules
    linears = [linear for layer in architecture.layers for linear in layer.linears]
    if targets == "all-linear" or any(linear.matches(target) for target in targets for linear in linears):
        return adaptation
    return adaptation.model_copy(update={"target_modules": "all-linear"})


def _subsets(names: list[str]) -> list[frozenset[str]]:
    return [frozenset(name for index, name in enumerate(names) if mask >> index & 1) for mask in range(1 << len(names))]


def _shapley(name: str, players: list[str], value: Callable[[frozenset[str]], int]) -> tuple[int, int]:
    """(numerator, denominator) of the section's average effect over all orders, exact."""
    others = [other for other in players if other != name]
    count = len(players)
    numerator = 0
    for before in _subsets(others):
        weight = factorial(len(before)) * factorial(count - len(before) - 1)
        numerator += weight * (value(before | {name}) - value(before))
    return numerator, factorial(count)


def _average_move(name: str, players: list[str], at: Callable[[frozenset[str]], Estimate]) -> MemoryLedger:
    """The section's average effect on each category: the same Shapley weights, for the sentence only."""
    moves: dict[Category, tuple[int, int]] = {
        category: _shapley(name, players, lambda names, of=category: at(names).ledger[of]) for category in CATEGORIES
    }
    return MemoryLedger({category: numerator // denominator for category, (numerator, denominator) in moves.items()})


def _largest_remainder(exact: dict[str, tuple[int, int]], total: int) -> dict[str, int]:
    """Round fractions to whole bytes that sum to ``total``: floor all, then give the rest to the largest remainders."""
    whole = {name: numerator // denominator for name, (numerator, denominator) in exact.items()}
    rest = total - sum(whole.values())
    if not 0 <= rest <= len(whole):
        raise Problem("The parts of an explanation do not sum to the difference.", "report this with both specs")
    order = sorted(exact, key=lambda name: (-(exact[name][0] % exact[name][1]), name))
    for name in order[:rest]:
        whole[name] += 1
    return whole


def _site_note(before: Estimate, after: Estimate, language: Language) -> str:
    if before.site == after.site:
        text = "Both peak at {0}." if language == "en" else "两者的峰值都出现在{0}。"
        return text.format(site_name(before.site, language))
    text = "The peak moves from {0} to {1}." if language == "en" else "峰值从{0}移到{1}。"
    return text.format(site_name(before.site, language), site_name(after.site, language))
