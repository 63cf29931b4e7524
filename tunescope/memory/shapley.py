"""Shapley values in whole bytes: each player's average effect over every order of joining, exact, summing to the whole."""

from collections.abc import Sequence
from math import factorial

from tunescope.problems import Problem
from tunescope.sentences import say

Vector = Sequence[int]


def shapley(count: int, values: Sequence[Vector]) -> list[list[int]]:
    """Numerators of each player's part of every component, over ``count!``. ``values[mask]``: with those players joined."""
    width = len(values[0])
    numerators = [[0] * width for _ in range(count)]
    weights = [factorial(size) * factorial(count - size - 1) for size in range(count)]
    for mask in range(1 << count):
        before, weight = values[mask], weights[mask.bit_count()] if mask != (1 << count) - 1 else 0
        for player in range(count):
            if mask >> player & 1:
                continue
            after, total = values[mask | 1 << player], numerators[player]
            for index in range(width):
                if after[index] != before[index]:
                    total[index] += weight * (after[index] - before[index])
    return numerators


def whole_bytes(numerators: Sequence[int], denominator: int, total: int) -> list[int]:
    """Round fractions to whole bytes that sum to ``total``: cut all towards zero, then one byte more for those that lost most.

    Seen from the other side, with every sign turned, the parts are the same.
    """
    whole = [numerator // denominator if numerator >= 0 else -(-numerator // denominator) for numerator in numerators]
    lost = [numerator - denominator * part for numerator, part in zip(numerators, whole, strict=True)]
    rest = total - sum(whole)
    step = 1 if rest > 0 else -1
    order = sorted(
        (index for index in range(len(whole)) if lost[index] * step > 0), key=lambda index: -lost[index] * step
    )
    if abs(rest) > len(order):
        raise Problem(say("parts_do_not_sum"), say("report_both_specs"))
    for index in order[: abs(rest)]:
        whole[index] += step
    return whole
