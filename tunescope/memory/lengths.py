"""Lengths: how long a data set's rows are, and how much the micro batches made of them vary."""

from dataclasses import dataclass
from math import exp, log
from statistics import NormalDist

P95 = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class Lengths:
    """Token lengths of a data set's rows under one tokenizer."""

    median: int
    p95: int
    longest: int

    def spread(self, max_length: int, batch: int, dropped: bool) -> float:
        """The longest micro batch over the median one, each padded to its longest row; 1.0 where all are alike.

        Rows over ``max_length`` are cut to it, or ``dropped``. Lengths are taken as log-normal through median and p95.
        """
        top = min(self.longest, max_length)
        part = 0.5 ** (1 / batch)
        if dropped and self.longest > max_length:
            part *= self._share_below(max_length)
        middle = min(top, self._at(part))
        return max(1.0, top / max(1.0, middle))

    @property
    def _sigma(self) -> float:
        return max(1e-6, log(max(self.p95, self.median, 1) / max(self.median, 1)) / P95)

    def _at(self, part: float) -> float:
        exponent = log(max(self.median, 1)) + self._sigma * NormalDist().inv_cdf(min(max(part, 1e-9), 1 - 1e-9))
        return exp(min(exponent, 50.0))

    def _share_below(self, length: int) -> float:
        return NormalDist().cdf((log(length) - log(max(self.median, 1))) / self._sigma)
