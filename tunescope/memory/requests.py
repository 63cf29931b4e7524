"""What a replayed step asks the caching allocator for, and what a layer's forward leaves for its backward."""

from dataclasses import dataclass, field

from tunescope.memory.allocator import Change


class Requests:
    """Mallocs and frees in order. A tensor is an id; 0 is no tensor."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.sizes = [0]
        """By id."""

    def take(self, size: int) -> int:
        uid = len(self.sizes)
        self.sizes.append(size)
        self.changes.append((uid, size))
        return uid

    def drop(self, *uids: int) -> None:
        self.changes.extend((-uid, 0) for uid in uids if uid)

    def touch(self, size: int) -> None:
        """Taken and dropped at once."""
        self.drop(self.take(size))

    def replaced(self, old: int, size: int) -> int:
        """A tensor made from another, which then goes."""
        new = self.take(size)
        self.drop(old)
        return new


@dataclass
class Kept:
    """Tensors that one layer's forward leaves for its backward, and the gradients that its backward leaves."""

    norms: list[int] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    """By matrix: what its adapter (or its own gradient) reads."""
    masks: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    """By matrix: restored ones that backward finds again."""
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
            *self.attention,
            *self.mlp,
            *(uid for expert in self.experts for uid in expert),
        ]
