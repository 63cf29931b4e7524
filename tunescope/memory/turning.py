"""Where a comparison turns round: both sides at the same length and micro batch, all else as each has it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunescope.memory.estimate import estimate
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec

if TYPE_CHECKING:
    from tunescope.memory.explain import Subject

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True)
class LengthPoint:
    """Totals of both sides with rows of up to ``tokens`` tokens."""

    tokens: int
    a_bytes: int
    b_bytes: int


def by_length(a: "Subject", b: "Subject") -> tuple[LengthPoint, ...]:
    """Both totals at equal lengths and at the smaller micro batch; lengths that one side cannot be estimated at are left out."""
    batch = min(side.spec.batch.per_device_train_batch_size for side in (a, b))
    points: list[LengthPoint] = []
    for tokens in LENGTHS:
        try:
            points.append(LengthPoint(tokens, _total(a, tokens, batch), _total(b, tokens, batch)))
        except InvalidInput:
            continue
    return tuple(points)


def _total(side: "Subject", tokens: int, batch: int) -> int:
    spec: JobSpec = side.spec.model_copy(
        update={
            "data": side.spec.data.model_copy(update={"max_length": tokens}),
            "batch": side.spec.batch.model_copy(update={"per_device_train_batch_size": batch}),
        }
    )
    return estimate(spec, side.architecture, side.device, side.lengths, side.stack).total_bytes


def turning_sentence(points: tuple[LengthPoint, ...], language: str) -> str:
    """Says up to which length one side needs less and from which the other; "" where one always does."""
    signs = [point.b_bytes < point.a_bytes for point in points]
    turn = next((index for index in range(1, len(signs)) if signs[index] != signs[index - 1]), None)
    if turn is None:
        return ""
    first, second = ("B", "A") if signs[0] else ("A", "B")
    before, after = points[turn - 1].tokens, points[turn].tokens
    if language == "zh":
        return f"长度与批大小相同时结论会反转：到 {before} 个词元为止 {first} 更省，从 {after} 个词元起 {second} 更省。"
    return f"It turns round with the length, at equal lengths and batches: up to {before} tokens {first} needs less, from {after} on {second}."
