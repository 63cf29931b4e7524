"""DoRA's matrices through forward and backward on a layer's meter."""

from tunescope.memory.architecture import Linear
from tunescope.memory.dora import DoraWidths
from tunescope.memory.layer_kept import Meter
from tunescope.memory.layer_linears import LayerLinears


class DoraLinears(LayerLinears, DoraWidths):
    """The matrices of one layer on its meter, those under DoRA too."""

    def dora_kept(self, linear: Linear) -> int:
        """Kept for backward: what the matrix and the adapter gave, and with dropout the copy of the matrix that it ran with."""
        if not self.decomposed(linear):
            return 0
        return (self.based(linear) + self.added(linear)) * self.t * linear.outputs + self.copied_weight(linear)

    def dora_forward(self, linear: Linear, count_in: int, *, graph: bool, whole: bool = True) -> None:
        """Beside what a matrix reads (``count_in`` numbers) and gives, the height of DoRA's forward, what it keeps included.

        ``graph``: with what backward will need of it. ``whole`` False: up to the last tensor that backward needs.
        """
        m, s = self.meter, self.s
        began, given = m.now, self.t * linear.outputs
        asked, added, scaled = self.asked(linear), self.added(linear), self.scaled(linear)
        m.take(asked * count_in if asked != self.reading(linear) else 0)
        m.take((asked + graph) * count_in if s.dropout else 0)
        self.weight_norms(linear, graph)
        copied = s.compute * count_in if s.autocast and asked != s.compute else 0
        read = m.take(copied)
        m.free(0 if graph else read)
        m.take(added * given)
        if s.dropout:
            m.take(copied)
            copy = m.take(added * linear.weight_count if added != asked else 0)
            m.take(self.based(linear) * given)
            m.free(copied + (0 if graph else copy))
        m.take(scaled * given)
        if whole:
            m.take(2 * scaled * given)
        m.free(m.now - began)

    def weight_norms(self, linear: Linear, graph: bool) -> None:
        """B·A, by way of an identity, and the matrix, both in the type of what is read: these stay while DoRA runs. Their sum goes."""
        m, s = self.meter, self.s
        weights, asked, added = linear.weight_count, self.asked(linear), self.added(linear)
        identity = m.take(s.adapter * linear.inputs**2)
        copied = m.take(s.compute * linear.inputs**2 if s.autocast and s.adapter != s.compute else 0)
        m.free(0 if graph else copied)
        product = m.take(added * weights)
        # B·A is not used for its gradient, but its graph lives as long as its name.
        m.free(identity if copied or not graph else 0)
        if added != asked:
            m.take(asked * weights)
            m.free(product)
        self.matrix_as(asked, linear)
        m.free(m.take(2 * asked * weights))

    def matrix_as(self, width: int, linear: Linear) -> None:
        """The matrix restored, in another type where that is asked for."""
        m, weights = self.meter, linear.weight_count
        if self.in_eight_bit(linear):
            # By its scales, and then by a constant, both in fp32 (``int8_vectorwise_dequant``).
            m.free(m.take(2 * 4 * weights))
            self.narrowed(m.take(4 * weights), width * weights)
            return
        restored = m.take(self.dequantized_bytes(linear))
        if width != self.s.compute:
            m.take(width * weights)
            m.free(restored)

    def dora_gradient(self, linear: Linear) -> int:
        """Bytes of gradients, beside that of the matrix's output, when backward first needs a tensor that forward kept."""
        if not self.decomposed(linear):
            return 0
        own, scaled, summed = self.own(linear), self.scaled(linear), self.summed(linear)
        cast = (scaled if scaled != summed else 0) + (own if own != scaled else 0)
        return (cast + scaled) * self.t * linear.outputs

    def linear_backward(self, linear: Linear, count_in: int, saved: int, graded: bool = True) -> int:
        if not self.decomposed(linear):
            return super().linear_backward(linear, count_in, saved, graded)
        left = self.unscaled(linear, graded)
        gradient = super().linear_backward(linear, count_in, saved, graded)
        # The caller lets go of the gradient that it gave.
        self.meter.take(self.summed(linear) * self.t * linear.outputs)
        self.meter.free(left)
        return gradient

    def unscaled(self, linear: Linear, graded: bool) -> int:
        """From the gradient of the sum to those of what the matrix and the adapter gave. Returns the bytes of the matrix's."""
        m, given = self.meter, self.t * linear.outputs
        own, based, added = self.own(linear), self.based(linear), self.added(linear)
        scaled, summed = self.scaled(linear) * given, self.summed(linear) * given
        wide = m.take(scaled if scaled != summed else 0)
        m.free(summed if wide else 0)
        straight = m.take(own * given if graded and own * given != scaled else 0)
        before = m.take(scaled)
        of_adapter = m.take(scaled)
        # Beside each gradient that of the magnitude, before it is summed up.
        m.free(m.take(scaled) + added * given)
        of_adapter = self.narrowed(of_adapter, added * given)
        m.free(before)
        of_matrix = m.take(scaled if graded else 0)
        m.free(m.take(scaled) + based * given)
        of_matrix = self.narrowed(of_matrix, based * given) if graded else 0
        m.free((wide or summed) + of_adapter)
        if not graded:
            return 0
        if self.s.dropout:
            # ``joined`` lets go of the one that comes through dropout.
            return straight or m.take(own * given)
        both = m.take(own * given)
        m.free(straight + of_matrix)
        return both

    def narrowed(self, wide: int, narrow: int) -> int:
        """A gradient cast to the type of what it is of."""
        if narrow == wide:
            return wide
        self.meter.take(narrow)
        self.meter.free(wide)
        return narrow

    def joined(self, linear: Linear, count_in: int, path: int) -> None:
        if not (self.decomposed(linear) and self.s.dropout):
            return
        m, asked, added = self.meter, self.asked(linear), self.added(linear)
        narrow = m.take(added * count_in)
        m.free(self.based(linear) * self.t * linear.outputs + self.copied_weight(linear))
        narrow = self.narrowed(narrow, asked * count_in)
        m.free(m.take(path) + narrow)

    def dora_height(self, linear: Linear, count_in: int, graph: bool = False) -> int:
        """0 where DoRA is not on a matrix."""
        if not self.decomposed(linear):
            return 0
        meter, self.meter = self.meter, Meter()
        self.dora_forward(linear, count_in, graph=graph)
        height, self.meter = self.meter.peak, meter
        return height
