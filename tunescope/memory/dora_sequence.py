"""DoRA's matrices, forward and backward, as requests to the allocator, in the order that traces show."""

from tunescope.memory.architecture import Linear
from tunescope.memory.dora import DoraWidths
from tunescope.memory.linear_sequence import LinearSequence
from tunescope.memory.requests import Kept


class DoraSequence(LinearSequence, DoraWidths):
    """The matrices of one layer, those under DoRA too."""

    def _adapter(self, linear: Linear, count_in: int, out: int, keep: bool, kept: Kept) -> int:
        if not self.decomposed(linear):
            return super()._adapter(linear, count_in, out, keep, kept)
        q, s, given = self.requests, self.s, self.t * linear.outputs
        asked, added, scaled = self.asked(linear), self.added(linear), self.scaled(linear) * given
        cast = q.take(asked * count_in) if asked != self.reading(linear) else 0
        dropped = q.take(asked * count_in) if s.dropout else 0
        if s.dropout:
            self._hold(kept.masks, linear, q.take(count_in), keep)
        added_weights, weights, identity = self._weight_norms(linear, keep)
        copied = s.compute * count_in if s.autocast and asked != s.compute else 0
        if copied:
            self._hold(kept.inputs, linear, q.take(copied), keep)
        elif keep and (dropped or cast):
            # Backward needs it as it is; it is let go of with what is kept.
            kept.inputs[linear.path] = dropped or cast
        of_adapter = q.take(added * given)
        of_matrix = self._dropped_product(linear, copied, weights, keep, kept) if s.dropout else out
        first, second = q.take(scaled), q.take(scaled)
        third = q.replaced(second, scaled)
        both = q.take(scaled)
        q.drop(first, third, identity, added_weights)
        q.drop(weights if weights != kept.weights.get(linear.path) else 0)
        total = q.take(scaled)
        held = kept.inputs.get(linear.path)
        q.drop(both, out if s.dropout or not keep else 0, dropped if dropped != held else 0)
        if keep:
            kept.scaled[linear.path] = [of_matrix, of_adapter]
        else:
            q.drop(of_adapter, of_matrix if s.dropout else 0)
        if self.summed(linear) * given != scaled:
            total = q.replaced(total, self.summed(linear) * given)
        q.drop(cast if cast != held else 0)
        return total

    def _weight_norms(self, linear: Linear, keep: bool) -> tuple[int, int, int]:
        """Tensors that stay while DoRA runs: (B·A, the matrix where it is not taken as stored, the identity that B·A came of)."""
        q, s, count = self.requests, self.s, linear.weight_count
        asked, added = self.asked(linear) * count, self.added(linear) * count
        identity = q.take(s.adapter * linear.inputs**2)
        copied = q.take(s.compute * linear.inputs**2) if s.autocast and s.adapter != s.compute else 0
        product = q.take(added)
        if copied or not keep:
            q.drop(identity)
            identity = copied
        if not keep:
            q.drop(identity)
            identity = 0
        if added != asked:
            product = q.replaced(product, asked)
        weights = self.restored(linear)
        if self.asked(linear) != s.compute:
            cast = q.take(asked)
            q.drop(weights)
            weights = cast
        q.drop(q.replaced(q.take(asked), asked))
        return product, weights, identity

    def _dropped_product(self, linear: Linear, copied: int, weights: int, keep: bool, kept: Kept) -> int:
        """The matrix on what dropout left, in the type that autocast chooses; what it ran with is kept for backward."""
        q = self.requests
        read = q.take(copied) if copied else 0
        ran_with = q.take(self.copied_weight(linear)) if self.added(linear) != self.asked(linear) else weights
        out = q.take(self.based(linear) * self.t * linear.outputs)
        q.drop(read)
        if keep:
            kept.weights[linear.path] = ran_with
        elif ran_with != weights:
            q.drop(ran_with)
        return out

    def linear_backward(self, linear: Linear, count_in: int, kept: Kept) -> int:
        if not self.decomposed(linear):
            return super().linear_backward(linear, count_in, kept)
        own = self._unscaled(linear, kept)
        gradient = super().linear_backward(linear, count_in, kept)
        self.requests.drop(own)
        return gradient

    def _unscaled(self, linear: Linear, kept: Kept) -> int:
        """From the gradient of the sum, which is left alone, to those of what the matrix and the adapter gave. Returns the matrix's."""
        q, given = self.requests, self.t * linear.outputs
        own, based, added = self.own(linear) * given, self.based(linear) * given, self.added(linear) * given
        scaled, summed = self.scaled(linear) * given, self.summed(linear) * given
        matrix_output, adapter_output = kept.scaled.pop(linear.path)
        wide = q.take(scaled) if scaled != summed else 0
        straight = q.take(own) if own != scaled else 0
        before, of_adapter = q.take(scaled), q.take(scaled)
        q.touch(scaled)
        q.drop(adapter_output)
        if added != scaled:
            of_adapter = q.replaced(of_adapter, added)
        q.drop(before)
        of_matrix = q.take(scaled)
        q.touch(scaled)
        q.drop(matrix_output)
        if based != scaled:
            of_matrix = q.replaced(of_matrix, based)
        q.drop(wide, of_adapter)
        if self.s.dropout:
            kept.scaled[linear.path] = [of_matrix]
            return straight
        both = q.take(own)
        q.drop(straight, of_matrix)
        return both

    def _joined(self, linear: Linear, count_in: int, path: int, kept: Kept) -> int:
        if linear.path not in kept.scaled:
            return path
        q, asked, added = self.requests, self.asked(linear), self.added(linear)
        other = q.take(added * count_in)
        q.drop(*kept.scaled.pop(linear.path), kept.weights.pop(linear.path))
        if asked != added:
            other = q.replaced(other, asked * count_in)
        both = q.take(asked * count_in)
        q.drop(path, other)
        return both
