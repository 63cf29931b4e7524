"""MemoryLedger: bytes by category. Adds, subtracts, and its parts always sum exactly to the total."""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from tunescope.units import format_bytes

Category = Literal[
    "weights",
    "quantization_state",
    "adapters",
    "gradients",
    "optimizer_states",
    "master_weights",
    "activations",
    "logits_and_loss",
    "workspace",
    "communication",
    "fragmentation",
    "runtime_context",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)


class MemoryLedger:
    """Bytes by category on one GPU. A difference of two ledgers may hold negative bytes; an estimate never does."""

    __slots__ = ("_bytes",)

    def __init__(self, amounts: Mapping[Category, int] | None = None) -> None:
        self._bytes: dict[Category, int] = dict.fromkeys(CATEGORIES, 0)
        for category, count in (amounts or {}).items():
            self._bytes[category] += count

    @classmethod
    def of(cls, terms: Iterable[tuple[Category, int]]) -> "MemoryLedger":
        """Sum (category, bytes) pairs."""
        ledger = cls()
        for category, count in terms:
            ledger._bytes[category] += count
        return ledger

    def __getitem__(self, category: Category) -> int:
        return self._bytes[category]

    @property
    def total_bytes(self) -> int:
        return sum(self._bytes.values())

    def __add__(self, other: "MemoryLedger") -> "MemoryLedger":
        return MemoryLedger({name: count + other[name] for name, count in self._bytes.items()})

    def __sub__(self, other: "MemoryLedger") -> "MemoryLedger":
        return MemoryLedger({name: count - other[name] for name, count in self._bytes.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryLedger) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(tuple(self._bytes.values()))

    def to_dict(self) -> dict[str, int]:
        """All twelve categories, in the order of ``CATEGORIES``."""
        return {str(name): count for name, count in self._bytes.items()}

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {format_bytes(count)}" for name, count in self._bytes.items() if count)
        return f"MemoryLedger({format_bytes(self.total_bytes)}: {parts})"
