"""Whole training steps as the caching allocator sees them: layers, the loss, the optimizer, in order."""

from dataclasses import dataclass

from tunescope.memory.allocator import Change
from tunescope.memory.architecture import Architecture
from tunescope.memory.layer_kept import LayerSettings
from tunescope.memory.layer_sequence import LayerSequence
from tunescope.memory.loss_path import LossPath
from tunescope.memory.requests import Kept, Requests


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


class StepSequence:
    """Steps of one model."""

    def __init__(self, architecture: Architecture, settings: LayerSettings, head: Head, update: Update) -> None:
        self.requests = Requests()
        self.s, self.head, self.update, self.layers = settings, head, update, architecture.layer_count
        kind = max(architecture.layers, key=lambda layer: layer.count)
        self.layer = LayerSequence(architecture, kind, settings, self.requests)
        self.layer.adds = not update.keeps_gradients
        self.table = settings.weight * architecture.vocab * architecture.hidden
        self.states: list[int] = []

    def changes(self) -> list[Change]:
        """Steps until one is like the next.

        Where large tensors train, the first step makes the optimizer's states in what forward and backward left, and
        the second finds what they left; a micro batch that adds to gradients comes in the second.
        """
        gradients = self.micro_batch()
        adding = bool(gradients) and self.s.accumulates
        if gradients and self.update.states:
            self.optimize(gradients)
            gradients = self.micro_batch(coarse=adding)
        if adding:
            self.layer.adds = True
            self.micro_batch()
        self.optimize(gradients)
        return self.requests.changes

    def micro_batch(self, coarse: bool = False) -> list[int]:
        """Forward and backward. Returns the gradients that stay."""
        q, layer = self.requests, self.layer
        boundary = self.s.stream * layer.h
        streams = [q.take(boundary)]
        kept: list[Kept] = []
        for index in range(self.layers):
            if not index or self.in_detail(index, coarse):
                kept.append(Kept())
                streams.append(layer.forward(streams[-1], not self.s.checkpointing, kept[-1]))
            else:
                kept.append(layer.passed(kept[0]))
                streams.append(q.take(boundary))
            if not self.s.checkpointing and self.s.stream == 2:
                q.drop(streams[-2])
                streams[-2] = 0
        final = Kept()
        gradient = self.loss(layer.norm(True, final))
        gradients = self.table_gradient(self.head.trains)
        gradient = layer.norm_backward(gradient, 0, final)
        q.drop(streams.pop())
        for index, held in reversed(list(enumerate(kept))):
            stream = streams.pop()
            if not index or self.in_detail(index, coarse):
                if self.s.checkpointing:
                    q.drop(layer.forward(stream, True, held))
                gradient = layer.backward(gradient, held)
            else:
                gradient = layer.passed_back(gradient, held)
            gradients += held.gradients
            q.drop(stream)
        q.drop(gradient)
        return gradients + self.table_gradient(self.head.trains and not self.head.tied)

    def in_detail(self, index: int, coarse: bool) -> bool:
        """Which layers after the first are followed tensor by tensor; the others are like it.

        Where layers leave gradients, those settle among the temporaries, which a few layers show well enough.
        """
        last = index == self.layers - 1
        among = index % max(4, self.layers // 4) == 0
        return last or (self.s.full and self.update.keeps_gradients and not coarse and among)

    def loss(self, normal: int) -> int:
        """From the last hidden states to their gradient."""
        q, head = self.requests, self.head
        if head.tile:
            size = self.s.compute * min(self.s.tokens, head.tile[0]) * head.tile[1]
            q.touch(size)
            tile, wide = q.take(size), q.take(4 * self.layer.h)
            narrow = q.take(self.s.compute * self.layer.h)
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
                # Replays for few tokens stand for jobs of many rows, too.
                tokens = self.s.tokens - (min(head.rows, self.s.tokens // 8) if name.endswith("'") else 0)
                live[name] = q.take(int(size) * tokens * head.vocab)
        return q.take(self.s.compute * self.layer.h)

    def table_gradient(self, trains: bool) -> list[int]:
        if not trains:
            return []
        gradient = self.requests.take(self.table)
        if not self.layer.adds:
            return [gradient]
        self.requests.drop(gradient)
        return []

    def optimize(self, gradients: list[int]) -> None:
        q = self.requests
        sizes = [q.sizes[uid] for uid in gradients]
        if not self.states:
            self.states = [q.take(int(part * size)) for size in sizes for part in self.update.states]
        q.drop(*[q.take(size) for _ in range(self.update.temporaries) for size in sizes], *gradients)
