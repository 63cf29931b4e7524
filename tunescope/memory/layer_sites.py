"""The layers of one step: what they keep together, and how high memory is in the backward of the last, the first and those between.

Kinds of layers may alternate (sliding windows, a sparse step): each counts where it stands. The highest layer between
counts for the higher of the two ends, as in a trace (``worker/tracer/stream.py``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tunescope.memory.architecture import Architecture, Layer
from tunescope.memory.layer_kept import LayerBytes, LayerSettings
from tunescope.memory.persistent import Persistent, adapter_width
from tunescope.spec import JobSpec


@dataclass(frozen=True)
class LayerKind:
    """Bytes of one kind of layer in a step."""

    kept: int
    """By its forward, where nothing is recomputed."""
    climb: int
    """The highest point of its backward, what it recomputes included but for casts, above what lived before."""
    passing: int
    """What forward needs at its height beyond what it keeps."""
    casts: int
    """Autocast's copies of its matrices, or of its adapters."""
    gradients: int


def layer_kinds(
    spec: JobSpec,
    architecture: Architecture,
    settings: LayerSettings,
    persistent: Persistent,
    each: Sequence[LayerBytes],
) -> Iterator[LayerKind]:
    """The layers' bytes with what comes on top for adapters and autocast."""
    copied = settings.autocast and settings.full and settings.weight == 4 and settings.compute != 4
    other = {spec.precision.dtype, spec.precision.adapter_dtype} == {"bfloat16", "float16"}
    cast = settings.autocast and (settings.adapter == 4 or other) and not settings.full
    for layer, item, added, on_experts in zip(
        architecture.layers, each, persistent.layer_adapter_elements, persistent.layer_expert_elements, strict=True
    ):
        kept = item.kept + _adapter_inner(spec, layer, settings, persistent.targets, on_experts)
        casts = settings.compute * (added - on_experts) if cast else 0
        if copied:
            casts = settings.compute * sum(linear.weight_count for linear in layer.linears)
        yield LayerKind(
            kept,
            item.backward + (kept if settings.checkpointing else 0),
            item.passing,
            casts,
            persistent.trained[-1].width * layer.parameter_count(architecture.hidden)
            if settings.full
            else adapter_width(spec) * added,
        )


def _adapter_inner(
    spec: JobSpec, layer: Layer, settings: LayerSettings, targets: frozenset[str], on_experts: int
) -> int:
    """The r-wide outputs of every A; their 16-bit weight casts are counted apart, but for those added to experts."""
    reading = sum(1 for linear in layer.linears if linear.path in targets)
    casts = on_experts if settings.adapter != settings.compute else 0
    return settings.compute * (reading * spec.adaptation.r * settings.tokens + casts)


@dataclass(frozen=True)
class Moment:
    """The highest point in the backward of one layer, beside what lives through all the step."""

    activations: int
    casts: int
    gradients: int

    @property
    def total(self) -> int:
        return self.activations + self.casts + self.gradients


@dataclass(frozen=True)
class LayersOfStep:
    """All layers of a step; ``order`` has the index in ``kinds`` of each. Widths in bytes."""

    kinds: tuple[LayerKind, ...]
    order: tuple[int, ...]
    checkpointed: bool
    boundary: int
    """The residual stream between two layers, which checkpointing keeps of each."""
    lasting: int
    """Kept beside, from the first layer on; less than 0 for what the first layer saves."""
    gradients: int
    """Of all that trains."""
    earlier_gradients: int
    """Those that come after the layers in backward: the embedding's."""
    gradients_there: int
    """Before the first of this backward."""
    head_gradients: int
    """Those there are when the last layer's backward begins."""
    shared: tuple[tuple[int, int], ...]
    """(first layer that is given it, bytes) of every mask and rotary table: all are among what lives through the step, but go with
    that layer."""
    first_climb: int | None = None
    """The first layer's, where no gradient is asked of its input."""

    @cached_property
    def kept(self) -> int:
        """By all layers, for backward."""
        return self._kept(len(self.order) - 1)

    @cached_property
    def casts(self) -> int:
        """Of all layers: autocast keeps them to the end of forward, and backward of what is not recomputed needs them."""
        return self._casts(self._counts(len(self.order) - 1))

    @cached_property
    def passing(self) -> int:
        """The highest point of forward inside a layer under checkpointing, which keeps no more than boundaries."""
        return max(self.kinds[kind].passing + self._kept(self._last_of(kind)) for kind in range(len(self.kinds)))

    def backward(self) -> tuple[Moment, Moment]:
        """(at the last layer, at the first)."""
        end = len(self.order) - 1
        last, first = self._moment(end, self.head_gradients), self._moment(0, self._made(0))
        between = [self._moment(index, self._made(index)) for index in self._between()]
        highest = max(between, key=lambda moment: moment.total, default=last)
        if last.total >= first.total:
            return (highest if highest.total > last.total else last), first
        return last, (highest if highest.total > first.total else first)

    def _between(self) -> set[int]:
        """The last and the first of each kind, without the ends: what lives grows or shrinks evenly from layer to layer."""
        if len(self.kinds) == 1:
            return set()
        inner = self.order[1:-1]
        found = {index for kind in set(inner) for index in (inner.index(kind), self._last(inner, kind))}
        return {index + 1 for index in found}

    def _moment(self, index: int, made: int) -> Moment:
        counts, kind = self._counts(index), self.kinds[self.order[index]]
        casts = kind.casts if self.checkpointed else self._casts(counts)
        gone = sum(size for first, size in self.shared if first > index)
        climb = kind.climb if index or self.first_climb is None else self.first_climb
        return Moment(self._kept(index) + climb - gone, casts, max(self.gradients_there, made))

    def _made(self, index: int) -> int:
        """Gradients that this backward made before it comes to a layer."""
        counts = self._counts(index)
        missing = sum(count * kind.gradients for count, kind in zip(counts, self.kinds, strict=True))
        return self.gradients - self.earlier_gradients - missing

    def _kept(self, index: int) -> int:
        """By the layers up to one."""
        if self.checkpointed:
            return (index + 1) * self.boundary + self.lasting
        counts = self._counts(index)
        return sum(count * kind.kept for count, kind in zip(counts, self.kinds, strict=True)) + self.lasting

    def _casts(self, counts: list[int]) -> int:
        return sum(count * kind.casts for count, kind in zip(counts, self.kinds, strict=True))

    def _counts(self, index: int) -> list[int]:
        """Layers of each kind up to one."""
        if len(self.kinds) == 1:
            return [index + 1]
        below = self.order[: index + 1]
        return [below.count(kind) for kind in range(len(self.kinds))]

    def _last_of(self, kind: int) -> int:
        return self._last(self.order, kind)

    @staticmethod
    def _last(order: tuple[int, ...], kind: int) -> int:
        return len(order) - 1 - order[::-1].index(kind)
