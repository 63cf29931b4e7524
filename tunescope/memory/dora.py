"""DoRA's matrices: what peft's ``tuners/lora/dora.py`` makes beside what an adapter makes.

It adds B·A to the matrix to measure each output's norm, and scales what the matrix and the adapter give by a trained magnitude over that
norm. Without dropout the matrix's own output serves; with it the matrix runs once more on what dropout left.
"""

from tunescope.memory.architecture import Linear
from tunescope.memory.layer_kept import LayerKept


class DoraWidths(LayerKept):
    """Bytes of the numbers that meet in a matrix under DoRA."""

    def decomposed(self, linear: Linear) -> bool:
        """Whether DoRA is on a matrix."""
        return self.s.dora and linear.path in self.s.targets

    def of_bitsandbytes(self, linear: Linear) -> bool:
        """Whether the matrix is one of bitsandbytes' layers, whose inputs and outputs peft leaves as they are under autocast."""
        return self.in_four_bit(linear) or self.in_eight_bit(linear)

    def asked(self, linear: Linear) -> int:
        """Width of what DoRA is given, which it brings the matrix and B·A to."""
        return self.reading(linear) if self.of_bitsandbytes(linear) and self.s.autocast else self.s.adapter

    def added(self, linear: Linear) -> int:
        """Width of B·A, and of what the adapter gives."""
        return self.s.compute if self.s.autocast else max(self.s.adapter, self.asked(linear))

    def own(self, linear: Linear) -> int:
        """Width of what the matrix itself gives."""
        return self.reading(linear) if self.of_bitsandbytes(linear) else self.answered

    def based(self, linear: Linear) -> int:
        """Width of what the matrix gives to be scaled."""
        return self.added(linear) if self.s.dropout else self.own(linear)

    def scaled(self, linear: Linear) -> int:
        """Width of what is scaled by the magnitude, in the widest of the types that meet there."""
        return max(self.s.adapter, self.asked(linear), self.based(linear))

    def summed(self, linear: Linear) -> int:
        """Width of what matrix and adapter give together."""
        return self.scaled(linear) if self.of_bitsandbytes(linear) and self.s.autocast else self.own(linear)

    def copied_weight(self, linear: Linear) -> int:
        """Of the product with what dropout left, where that cannot take the matrix as it is stored."""
        if not (self.decomposed(linear) and self.s.dropout):
            return 0
        stored = not self.of_bitsandbytes(linear) and self.asked(linear) == self.s.compute
        return 0 if stored else self.added(linear) * linear.weight_count
