"""How much a caching allocator keeps when lengths vary: `python -m benchmarks.varying_lengths [PATHS]`.

Replays training steps of random lengths (rows as documents: log-normal, cut off at the longest) through the model of
CUDA's caching allocator (worker/tracer/allocator.py) and prints, by the spread of the micro batches' lengths, what stays
reserved over what steps of the longest length alone reserve: 10th, 50th and 90th percentile of PATHS random orders after
32 passes. The table in ``tunescope/memory/fragmentation.py`` is this output.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from statistics import NormalDist, quantiles

from tunescope.memory.loss_path import AUTOCAST_ON_LABELS, AUTOCAST_SHIFTED_FLOAT, SHIFTED_THEN_FLOAT, LossPath
from tunescope.memory.allocator import CachingAllocator
from worker.tracer.replay import allocator

PASSES = 32
"""Records of length are rare after this many micro batches: most of the cache is there."""
SPREADS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
SIGMA = 0.7
"""Of the logarithm of document lengths: the mean 3234 and deviation 2547 of ms-swift's benchmark data give 0.69."""


@dataclass(frozen=True)
class Shape:
    """What decides which tensors are large: vocabulary, width, MLP width, layers, and the loss path."""

    name: str
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    loss: LossPath
    checkpointing: bool = True


SHAPES = (
    Shape("large vocabulary, one row, 2023", 151_936, 4096, 11_008, 8, SHIFTED_THEN_FLOAT),
    Shape("large vocabulary, current", 151_936, 4096, 12_288, 8, AUTOCAST_ON_LABELS),
    Shape("small vocabulary, 4.48", 32_000, 4096, 14_336, 8, AUTOCAST_SHIFTED_FLOAT),
    Shape("without checkpointing", 151_936, 4096, 11_008, 16, AUTOCAST_ON_LABELS, checkpointing=False),
)


class Step:
    """One training step of LoRA, coarse: the large tensors of every layer, in order."""

    def __init__(self, shape: Shape, target: CachingAllocator) -> None:
        self.shape, self.target, self.count = shape, target, 0

    def take(self, size: int) -> int:
        self.count += 1
        self.target.malloc(self.count, size)
        return self.count

    def drop(self, *uids: int) -> None:
        for uid in uids:
            self.target.free(uid)

    def run(self, tokens: int) -> None:
        if not self.shape.checkpointing:
            self.run_keeping(tokens)
            return
        boundary = 2 * tokens * self.shape.hidden
        kept = [self.take(boundary)]
        for _ in range(self.shape.layers):
            self.layer_forward(tokens)
            kept.append(self.take(boundary))
        self.loss(tokens)
        gradient = self.take(boundary)
        for _ in range(self.shape.layers):
            gradient = self.layer_backward(tokens, gradient)
            self.drop(kept.pop())
        self.drop(gradient, *kept)

    def run_keeping(self, tokens: int) -> None:
        """Without checkpointing: every layer keeps two fp32 norm inputs, q, k, v, the attention's output and three MLP tensors."""
        h, i = 2 * tokens * self.shape.hidden, 2 * tokens * self.shape.intermediate
        layers: list[list[int]] = []
        for _ in range(self.shape.layers):
            kept, normal = [self.take(2 * h)], self.take(h)
            kept += [self.take(h), self.take(h), self.take(h), self.take(h)]
            kept.append(self.take(2 * h))
            self.drop(normal)
            kept += [self.take(i), self.take(i), self.take(i)]
            product, out = self.take(i), self.take(h)
            self.drop(product, out)
            layers.append(kept)
        self.loss(tokens)
        gradient = self.take(h)
        for kept in reversed(layers):
            product, silu, up = self.take(i), self.take(i), self.take(i)
            wide, other = self.take(2 * h), self.take(2 * h)
            self.drop(product, silu, up, wide, other)
            scratch, dq, dk, dv = self.take(2 * h), self.take(h), self.take(h), self.take(h)
            self.drop(scratch, dq, dk, dv, *kept)
            below = self.take(h)
            self.drop(gradient)
            gradient = below
        self.drop(gradient)

    def layer_forward(self, tokens: int) -> None:
        h, i = 2 * tokens * self.shape.hidden, 2 * tokens * self.shape.intermediate
        wide, normal = self.take(2 * h), self.take(h)
        self.drop(wide)
        q, k, v = self.take(h), self.take(h), self.take(h)
        out = self.take(h)
        self.drop(q, k, v, normal, out)
        gate, up, silu = self.take(i), self.take(i), self.take(i)
        self.drop(gate)
        product = self.take(i)
        self.drop(up, silu, product)

    def layer_backward(self, tokens: int, gradient: int) -> int:
        h, i = 2 * tokens * self.shape.hidden, 2 * tokens * self.shape.intermediate
        attention = [self.take(2 * h), *(self.take(h) for _ in range(6))]
        mlp = [self.take(2 * h), self.take(h), *(self.take(i) for _ in range(4))]
        product = self.take(i)
        silu, up = self.take(i), self.take(i)
        self.drop(product)
        first = self.take(h)
        self.drop(silu, up, first, *mlp)
        wide, other = self.take(2 * h), self.take(2 * h)
        self.drop(wide, other)
        scratch, dq, dk, dv = self.take(2 * h), self.take(h), self.take(h), self.take(h)
        self.drop(scratch, dq, dk, dv, *attention)
        below = self.take(h)
        self.drop(gradient)
        return below

    def loss(self, tokens: int) -> None:
        live: dict[str, int] = {}
        dropped = {word.split("*")[0] for word in self.shape.loss.text.split() if "*" in word}
        for word in self.shape.loss.text.split():
            name = word.lstrip("-").split("+")[0].split("*")[0]
            if word == "|" or name in dropped:
                continue
            if word.startswith("-"):
                self.drop(live.pop(name))
            else:
                live[name] = self.take(int(word.split("+")[1]) * tokens * self.shape.vocab)


def lengths(random: Random, longest: int, spread: float) -> Callable[[], int]:
    """Micro batch lengths: log-normal with median ``longest / spread``, those above ``longest`` left out."""
    normal = NormalDist()
    # The median of what is left after cutting is longest / spread: find the location by bisection.
    low, high = -6.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        share = normal.cdf(-middle / SIGMA)
        found = 2.718281828459045 ** (middle + SIGMA * normal.inv_cdf(max(1e-12, share / 2)))
        low, high = (middle, high) if found < 1 / spread else (low, middle)
    share = normal.cdf(-low / SIGMA)

    def draw() -> int:
        part = max(1e-12, random.random() * share)
        return max(16, int(longest * 2.718281828459045 ** (low + SIGMA * normal.inv_cdf(part))))

    return draw


def reserved(shape: Shape, draws: list[int], expandable: bool) -> int:
    step = Step(shape, allocator(expandable))
    for tokens in draws:
        step.run(tokens)
    return step.target.reserved_peak


def main(arguments: list[str]) -> int:
    paths = int(arguments[0]) if arguments else 40
    longest = 2048
    print(f"reserved after {PASSES} passes / reserved by the longest alone: 10 %, 50 %, 90 % of {paths} orders")
    for expandable in (False, True):
        for shape in SHAPES:
            alone = reserved(shape, [longest] * 3, expandable)
            active = CachingAllocator()
            Step(shape, active).run(longest)
            cells = [f"one length, reserved/active {alone / active.active_peak:.2f} "]
            for spread in SPREADS:
                found: list[float] = []
                for seed in range(paths):
                    draw = lengths(Random(seed), longest, spread)
                    found.append(reserved(shape, [draw() for _ in range(PASSES)], expandable) / alone)
                tenths = quantiles(found, n=10)
                cells.append(f"{spread}: {tenths[0]:.2f} {tenths[4]:.2f} {tenths[8]:.2f}")
            print(f"{'expandable' if expandable else 'native':11}{shape.name:34}" + "  ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
