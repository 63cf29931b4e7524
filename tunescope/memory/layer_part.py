"""What one layer asks the allocator for, recorded once and run for every layer like it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tunescope.memory.layer_sequence import LayerSequence
from tunescope.memory.requests import Kept, Memory

STREAM, GRADIENT = 1, 2
"""Ids of what a layer is given: its input when forward begins, the gradient of its output when backward does."""
GIVEN = 2


@dataclass(frozen=True)
class LayerPart:
    """One layer, or several one above the other."""

    forward_order: Sequence[int]
    backward_order: Sequence[int]
    sizes: list[int]
    """Units by id."""
    new_stream: int
    new_gradient: int
    weight_gradients: list[tuple[int, int]]
    """(id, units) of those that stay."""
    left: list[int]
    """Units of each tensor that forward leaves for backward."""

    def forward(self, memory: Memory, stream: int) -> list[int]:
        """Returns what stands for the layer's tensors, by id."""
        held = [0] * len(self.sizes)
        held[STREAM] = stream
        memory.run(self.forward_order, self.sizes, held)
        return held

    def backward(self, memory: Memory, held: list[int], gradient: int) -> None:
        held[GRADIENT] = gradient
        memory.run(self.backward_order, self.sizes, held)


Detail = Literal["left", "forward", "all"]
"""How closely a layer is followed: by what its forward leaves and its backward makes of it; with forward's temporaries; with all."""


def recorded(layer: LayerSequence, detail: Detail = "all", like: LayerPart | None = None) -> LayerPart:
    """What a layer asks for. In detail "left" it is ``like`` one that was followed closer."""
    q, s, kept = layer.requests, layer.s, Kept()
    if detail == "left":
        assert like is not None
        new_stream = layer.passed(like.left, kept)
    else:
        new_stream = layer.forward(STREAM, not s.checkpointing, kept)
    left = [q.sizes[uid] for uid in kept.all() if uid]
    stream_goes = not s.checkpointing and s.stream == 2
    if stream_goes:
        q.drop(STREAM)
    middle = len(q.order)
    if detail == "all":
        if s.checkpointing:
            q.drop(layer.forward(STREAM, True, kept))
        new_gradient = layer.backward(GRADIENT, kept)
    else:
        new_gradient = layer.passed_back(GRADIENT, kept)
    if not stream_goes:
        q.drop(STREAM)
    gradients = [(uid, q.sizes[uid]) for uid in kept.gradients]
    return LayerPart(q.order[:middle], q.order[middle:], q.sizes, new_stream, new_gradient, gradients, left)


def repeated(part: LayerPart, count: int) -> LayerPart:
    """``count`` layers like ``part``, one above the other, as one."""
    stride, top = len(part.sizes), count - 1
    # A layer that leaves nothing finds the blocks that the one above it took and left: only what its forward left goes.
    leaves, kept = bool(part.weight_gradients), {STREAM, *part.forward_order}
    below = part.backward_order if leaves else [uid for uid in part.backward_order if -uid in kept]
    forward: list[int] = []
    backward: list[int] = []
    for number in range(count):
        given = {STREAM: part.new_stream + (number - 1) * stride} if number else {}
        forward += _moved(part.forward_order, number * stride, given)
    for number in range(top, -1, -1):
        given = {STREAM: part.new_stream + (number - 1) * stride if number else STREAM, GRADIENT: GRADIENT}
        if number < top:
            given[GRADIENT] = part.new_gradient + (number + 1) * stride
        backward += _moved(part.backward_order if number == top else below, number * stride, given)
    return LayerPart(
        forward, backward, part.sizes * count, part.new_stream + top * stride,
        part.new_gradient + (0 if leaves else top * stride),
        [(uid + number * stride, size) for number in range(top, -1, -1) for uid, size in part.weight_gradients], part.left,
    )  # fmt: skip


def _moved(order: Sequence[int], by: int, given: Mapping[int, int]) -> list[int]:
    """Requests with other ids: of what is ``given`` those, of all else so many more."""
    return [uid + by if uid > 0 else -given.get(-uid, by - uid) for uid in order]
