"""What a replayed step asks the caching allocator for, and what a layer's forward leaves for its backward."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tunescope.memory.allocator import Change
from tunescope.memory.native_allocator import UNIT, units


class Memory(Protocol):
    """What requests are made of: an allocator, or a list that records them."""

    def run(self, order: Sequence[int], sizes: Sequence[int], held: list[int]) -> None:
        """Mallocs (ids) and frees (negative ids). ``sizes``: units by id; ``held``: what stands for each tensor."""
        ...


class Recorded:
    """All requests as one stream of changes."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._last = 0

    def run(self, order: Sequence[int], sizes: Sequence[int], held: list[int]) -> None:
        for uid in order:
            if uid > 0:
                self._last += 1
                held[uid] = self._last
                self.changes.append((self._last, sizes[uid] * UNIT))
            else:
                self.changes.append((-held[-uid], 0))


class Requests:
    """Mallocs and frees in order. A tensor is an id; 0 is no tensor."""

    def __init__(self, given: int = 0) -> None:
        """``given``: how many tensors are there before; theirs are the first ids."""
        self.order: list[int] = []
        self.sizes = [0] * (1 + given)
        """Units by id."""

    def take(self, size: int) -> int:
        """A tensor of ``size`` bytes."""
        uid = len(self.sizes)
        self.sizes.append(units(size))
        self.order.append(uid)
        return uid

    def drop(self, *uids: int) -> None:
        for uid in uids:
            if uid:
                self.order.append(-uid)

    def touch(self, size: int) -> None:
        """Taken and dropped at once."""
        self.drop(self.take(size))

    def replaced(self, old: int, size: int) -> int:
        """A tensor made from another, which then goes."""
        new = self.take(size)
        self.drop(old)
        return new

    def run(self, memory: Memory, *given: int) -> list[int]:
        """Ask for all of it. Returns what stands for each tensor, by id."""
        held = [0, *given, *[0] * (len(self.sizes) - 1 - len(given))]
        memory.run(self.order, self.sizes, held)
        return held


def take_all(memory: Memory, sizes: Sequence[int]) -> list[int]:
    """Tensors of so many units each, one after the other: what stands for them."""
    asked = [0, *sizes]
    held = [0] * len(asked)
    memory.run(range(1, len(asked)), asked, held)
    return held[1:]


def drop_all(memory: Memory, tensors: Sequence[int]) -> None:
    memory.run(range(-1, -len(tensors) - 1, -1), (), [0, *tensors])


@dataclass
class Kept:
    """Tensors that one layer's forward leaves for its backward, and the gradients that its backward leaves."""

    norms: list[int] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    """By matrix: what its adapter (or its own gradient) reads."""
    masks: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    """By matrix: restored ones that backward finds again."""
    scaled: dict[str, list[int]] = field(default_factory=dict)
    """By matrix under DoRA: what it and its adapter gave."""
    attention: list[int] = field(default_factory=list)
    mlp: list[int] = field(default_factory=list)
    experts: list[list[int]] = field(default_factory=list)
    gradients: list[int] = field(default_factory=list)

    def all(self) -> list[int]:
        """What backward lets go of."""
        by_matrix = [*self.inputs.values(), *self.masks.values(), *self.weights.values()]
        return [
            *self.norms,
            *by_matrix,
            *(uid for outputs in self.scaled.values() for uid in outputs),
            *self.attention,
            *self.mlp,
            *(uid for expert in self.experts for uid in expert),
        ]
