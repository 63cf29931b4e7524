"""Where a comparison turns round: both sides at the same length and micro batch, all else as each has it."""

from dataclasses import dataclass
from itertools import groupby
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
    """Says at which lengths which side needs less; "" where one always does. Lengths with equal totals say nothing."""
    told = [
        ("B" if point.b_bytes < point.a_bytes else "A", point.tokens)
        for point in points
        if point.a_bytes != point.b_bytes
    ]
    runs = [(side, [tokens for _, tokens in run]) for side, run in groupby(told, key=lambda each: each[0])]
    if len(runs) < 2:
        return ""
    (first, head), *middle, (last, tail) = runs
    if language == "zh":
        between = "".join(f"{run[0]} 到 {run[-1]} 个词元时 {side} 更省，" for side, run in middle)
        return f"长度与批大小相同时结论会反转：到 {head[-1]} 个词元为止 {first} 更省，{between}从 {tail[0]} 个词元起 {last} 更省。"
    between = "".join(f"from {run[0]} to {run[-1]} {side}, " for side, run in middle)
    return f"It turns round with the length, at equal lengths and batches: up to {head[-1]} tokens {first} needs less, {between}from {tail[0]} on {last}."
