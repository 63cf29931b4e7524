"""Whole training steps as the caching allocator sees them: layers, the loss, the optimizer, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tunescope.memory.allocator import Change
from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.layer_part import GIVEN, Detail, LayerPart, recorded, repeated
from tunescope.memory.layer_sequence import LayerSequence
from tunescope.memory.loss_path import LossPath
from tunescope.memory.native_allocator import UNIT, units
from tunescope.memory.requests import Kept, Memory, Recorded, Requests, drop_all, take_all

Gradient = tuple[int, int]
"""(what stands for it, units)"""


@dataclass(frozen=True)
class Head:
    """What happens above the layers. ``tile``: (tokens, vocabulary) of one tile of logits where the loss runs in tiles."""

    path: LossPath
    vocab: int
    rows: int
    """Of a micro batch. Only one or more matters, where no copy of the logits lacks the last token of each row."""
    tile: tuple[int, int] | None = None
    trains: bool = False
    """With the embedding, in full."""
    tied: bool = False


@dataclass(frozen=True)
class Update:
    """The optimizer, in multiples of a gradient: what it keeps of each from the first step on, and its lists of temporaries."""

    states: tuple[float, ...] = ()
    temporaries: int = 0
    keeps_gradients: bool = True
    """False where each goes into a buffer of all at once (DeepSpeed, FSDP)."""


@dataclass(frozen=True)
class Top:
    """What is above the layers as requests, of which the first id is the last layer's output."""

    requests: Requests
    gradient: int
    """Id of that of the last layer's output."""
    table: int
    """Id of the head's gradient, where that stays; else 0."""


class StepSequence:
    """Steps of one model. What a layer asks for is recorded once, and layers like it run as one."""

    def __init__(self, architecture: Architecture, settings: LayerSettings, head: Head, update: Update) -> None:
        self.a, self.s, self.head, self.update = architecture, settings, head, update
        self.layers = architecture.layer_count
        self.kind = max(architecture.layers, key=lambda layer: layer.count)
        self._parts: dict[tuple[Detail, int, bool], LayerPart] = {}
        self._tops: dict[bool, Top] = {}

    def changes(self) -> list[Change]:
        """The steps as one stream, at whose end only the optimizer's states live."""
        stream = Recorded()
        drop_all(stream, self.run(stream))
        return stream.changes

    def run(self, memory: Memory) -> list[int]:
        """The first step and one more. Returns what the last update lets go of, which changes no peak.

        The second finds other free blocks than the first found: even copies of the logits that differ by a token may then take
        each other's. A third adds nothing (``python -m benchmarks.replayed_fragmentation``).
        """
        return self.run_again(memory, self.run_first(memory))

    def run_first(self, memory: Memory) -> list[int]:
        """A step that makes the optimizer's states in what forward and backward left. Returns what is to be let go of."""
        return self.first_update(memory, self.first_micro_batch(memory))

    def first_micro_batch(self, memory: Memory) -> list[Gradient]:
        """Returns the gradients that stay, which find their places among the temporaries."""
        return self.micro_batch(memory, not self.update.keeps_gradients, settling=True)

    def first_update(self, memory: Memory, gradients: list[Gradient]) -> list[int]:
        """Makes the optimizer's states, which stay for good. Returns what is to be let go of."""
        sizes = [size for _, size in gradients]
        of_size = {size: [units(int(part * size * UNIT)) for part in self.update.states] for size in set(sizes)}
        take_all(memory, [state for size in sizes for state in of_size[size]])
        return self.optimize(memory, gradients)

    def run_again(self, memory: Memory, left: Sequence[int]) -> list[int]:
        """One more step, after what the last one ``left`` was let go of. Returns what it leaves itself."""
        drop_all(memory, left)
        gradients = self.micro_batch(memory, not self.update.keeps_gradients)
        if gradients and self.s.accumulates:
            self.micro_batch(memory, adds=True)
        return self.optimize(memory, gradients)

    def micro_batch(self, memory: Memory, adds: bool, settling: bool = False) -> list[Gradient]:
        """Forward and backward. Returns the gradients that stay. ``settling``: the first, where these find their places."""
        (stream,) = take_all(memory, [units(self.s.stream * self.s.tokens * self.a.hidden)])
        passes: list[tuple[LayerPart, list[int]]] = []
        details: list[Detail] = [self.detail(index, settling) for index in range(self.layers)]
        for detail, alike in groupby(details):
            part = self.layers_part(detail, len(list(alike)), adds)
            held = part.forward(memory, stream)
            stream = held[part.new_stream]
            passes.append((part, held))
        gradient, gradients = self.above(memory, stream, adds)
        for part, held in reversed(passes):
            part.backward(memory, held, gradient)
            gradient = held[part.new_gradient]
            gradients += [(held[uid], size) for uid, size in part.weight_gradients]
        return gradients + self.below(memory, gradient, adds)

    def layers_part(self, detail: Detail, count: int, adds: bool) -> LayerPart:
        found = self._parts.get((detail, count, adds))
        if found is None:
            if count > 1:
                found = repeated(self.layers_part(detail, 1, adds), count)
            else:
                # What forward leaves does not depend on the gradients that are there.
                like = (
                    self._parts.get(("all", 1, not adds)) or self.layers_part("all", 1, adds)
                    if detail == "left"
                    else None
                )
                found = recorded(self.layer(Requests(GIVEN), adds), detail, like)
            self._parts[detail, count, adds] = found
        return found

    def layer(self, requests: Requests, adds: bool) -> LayerSequence:
        return LayerSequence(self.a, self.kind, self.s, requests, adds)

    def detail(self, index: int, settling: bool) -> Detail:
        """How closely a layer is followed: the first and the last show what all find.

        Where layers leave gradients, those settle among the temporaries, which a few layers of the first micro batch show well
        enough (``python -m benchmarks.replayed_fragmentation``).
        """
        if not settling:
            return "left"
        among = self.s.full and self.update.keeps_gradients and index % max(4, self.layers // 4) == 0
        if among or index == self.layers - 1:
            return "all"
        return "forward" if index == 0 else "left"

    def above(self, memory: Memory, stream: int, adds: bool) -> tuple[int, list[Gradient]]:
        """The last norm, the head and the loss, forward and backward: the gradient of the last layer's output, and the head's."""
        top = self._tops.get(adds)
        if top is None:
            top = self._tops[adds] = self.top(adds)
        held = top.requests.run(memory, stream)
        table = [(held[top.table], top.requests.sizes[top.table])] if top.table else []
        return held[top.gradient], table

    def top(self, adds: bool) -> Top:
        q, final = Requests(given=1), Kept()
        layer = self.layer(q, adds)
        normal_gradient = self.loss(q, layer.norm(True, final))
        table = self.table_gradient(q, adds) if self.head.trains else 0
        gradient = layer.norm_backward(normal_gradient, 0, final)
        q.drop(1)
        return Top(q, gradient, table)

    def below(self, memory: Memory, gradient: int, adds: bool) -> list[Gradient]:
        """The embedding's backward: its gradient."""
        q = Requests(given=1)
        q.drop(1)
        table = self.table_gradient(q, adds) if self.head.trains and not self.head.tied else 0
        held = q.run(memory, gradient)
        return [(held[table], q.sizes[table])] if table else []

    def table_gradient(self, q: Requests, adds: bool) -> int:
        gradient = q.take(self.s.weight * self.a.vocab * self.a.hidden)
        if not adds:
            return gradient
        q.drop(gradient)
        return 0

    def optimize(self, memory: Memory, gradients: list[Gradient]) -> list[int]:
        """What the update takes and leaves to be let go of, gradients included."""
        temporaries = take_all(memory, [size for _, size in gradients] * self.update.temporaries)
        return temporaries + [tensor for tensor, _ in gradients]

    def loss(self, q: Requests, normal: int) -> int:
        """From the last hidden states to their gradient."""
        head, hidden = self.head, self.s.tokens * self.a.hidden
        if head.tile:
            size = self.s.compute * min(self.s.tokens, head.tile[0]) * head.tile[1]
            q.touch(size)
            tile, wide = q.take(size), q.take(4 * hidden)
            narrow = q.take(self.s.compute * hidden)
            q.drop(tile, wide, normal)
            return narrow
        live: dict[str, int] = {}
        for word in head.path.words(head.rows):
            if word == "|":
                q.drop(normal)
            elif word.startswith("-"):
                q.drop(live.pop(word[1:]))
            else:
                name, size = word.split("+")
                # The power of two below a length stands for it, too, with all its rows.
                tokens = self.s.tokens - (min(head.rows, self.s.tokens // 8) if name.endswith("'") else 0)
                live[name] = q.take(int(size) * tokens * head.vocab)
        return q.take(self.s.compute * hidden)
