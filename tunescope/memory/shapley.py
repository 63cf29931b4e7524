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
    """Round fractions to whole bytes that sum to ``total``: floor all, then give the rest to the largest remainders."""
    whole = [numerator // denominator for numerator in numerators]
    rest = total - sum(whole)
    if not 0 <= rest <= len(whole):
        raise Problem(say("parts_do_not_sum"), say("report_both_specs"))
    order = sorted(range(len(whole)), key=lambda index: (-(numerators[index] % denominator), index))
    for index in order[:rest]:
        whole[index] += 1
    return whole
