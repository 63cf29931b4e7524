"""``python -m benchmarks.chat_cache``: what CUDA's allocator reserves for a chat, with keys and values that grow and with those taken at once.

A replay of its mallocs in ``tunescope.memory.native_allocator``: the first pass over a conversation, then one token after the other up to the
longest. Weights, which lie apart, are left out. About a minute.
"""

from dataclasses import dataclass, field

from tunescope.memory.architecture import Architecture
from tunescope.memory.catalogue import catalogue
from tunescope.memory.inference import estimate_inference
from tunescope.memory.native_allocator import UNIT, NativeAllocator, units
from tunescope.spec import parse_spec
from tunescope.units import format_bytes

MODELS = (
    ("Qwen/Qwen2.5-7B-Instruct", 4096),
    ("Qwen/Qwen2.5-7B-Instruct", 8192),
    ("meta-llama/Llama-2-7b-hf", 4096),
    ("meta-llama/Meta-Llama-3-8B", 4096),
    ("google/gemma-7b", 4096),
    ("smollm2-135m-instruct", 4096),
)
WIDTH = 2
SPEC = parse_spec({"model": {"id": "any"}, "data": {"dataset": "any"}})


@dataclass
class Replay:
    """Mallocs and frees of tensors, by number."""

    allocator: NativeAllocator = field(default_factory=NativeAllocator)
    sizes: list[int] = field(default_factory=lambda: [0])
    held: list[int] = field(default_factory=lambda: [0])

    def take(self, count: int) -> int:
        self.sizes.append(units(count))
        self.held.append(0)
        number = len(self.sizes) - 1
        self.allocator.run([number], self.sizes, self.held)
        return number

    def free(self, *numbers: int) -> None:
        self.allocator.run([-number for number in numbers], self.sizes, self.held)


def reserved(model: Architecture, begin: int, end: int, grows: bool) -> int:
    """Bytes reserved after a pass over ``begin`` tokens and one token at a time up to ``end``."""
    replay = Replay()
    layers = range(model.layer_count)
    row = model.kv_width * WIDTH
    kept = [[0, 0] for _ in layers]
    if not grows:
        replay.take(len(layers) * end * row)
        replay.take(len(layers) * end * row)
    first_pass(replay, model, begin, kept, grows)
    for tokens in range(begin + 1, end + 1) if grows else ():
        for pair in kept:
            for index in (0, 1):
                longer = replay.take(tokens * row)
                replay.free(pair[index])
                pair[index] = longer
    return replay.allocator.reserved * UNIT


def first_pass(replay: Replay, model: Architecture, tokens: int, kept: list[list[int]], grows: bool) -> None:
    """A Llama's layers in the order of its code, without gradients."""

    def rows(width: int, number: int = WIDTH) -> int:
        return replay.take(tokens * width * number)

    def norm() -> int:
        wide = rows(model.hidden, 4), rows(model.hidden, 4)
        normed = rows(model.hidden)
        replay.free(*wide)
        return normed

    def turned(width: int) -> int:
        plain = rows(width)
        parts = rows(width), rows(width)
        found = rows(width)
        replay.free(*parts, plain)
        return found

    inner = max(layer.mlp_width for layer in model.layers)
    embedded = hidden = rows(model.hidden)
    for pair in kept:
        normed, query, key, value = norm(), turned(model.q_width), turned(model.kv_width), rows(model.kv_width)
        if grows:
            pair[:] = rows(model.kv_width), rows(model.kv_width)
        replay.free(key, value)
        mixed = rows(model.q_width)
        replay.free(query)
        out = rows(model.hidden)
        replay.free(mixed)
        stream = rows(model.hidden)
        replay.free(out, normed)
        normed, gate = norm(), rows(inner)
        acted = rows(inner)
        replay.free(gate)
        up, product = rows(inner), rows(inner)
        replay.free(acted, up)
        down = rows(model.hidden)
        replay.free(product, normed)
        after = rows(model.hidden)
        replay.free(down, stream)
        if hidden != embedded:
            replay.free(hidden)
        hidden = after
    replay.free(embedded, hidden)


def main() -> None:
    print(f"{'model':<28}{'tokens':>7}{'first':>7}{'keys, values':>14}{'predicted':>12}{'grows':>12}{'taken once':>12}")
    for name, longest in MODELS:
        model = catalogue(name)
        ledger = estimate_inference(SPEC, model, longest).ledger
        predicted = sum(ledger[part] for part in ("kv_cache", "activations", "logits_and_loss", "fragmentation"))
        for begin in (32, longest - 16):
            told = [predicted, reserved(model, begin, longest, True), reserved(model, begin, longest, False)]
            figures = "".join(f"{format_bytes(count):>12}" for count in told)
            print(f"{name:<28}{longest:>7}{begin:>7}{format_bytes(ledger['kv_cache']):>14}{figures}", flush=True)


if __name__ == "__main__":
    main()
