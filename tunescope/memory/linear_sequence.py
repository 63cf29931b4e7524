"""One matrix with its adapter, forward and backward, as requests to the allocator, in the order that traces show."""

from tunescope.memory.architecture import Architecture, Layer, Linear
from tunescope.memory.layer_kept import LayerKept, LayerSettings
from tunescope.memory.requests import Kept, Requests


class LinearSequence(LayerKept):
    """The matrices of one layer."""

    def __init__(
        self, architecture: Architecture, layer: Layer, settings: LayerSettings, requests: Requests, adds: bool
    ) -> None:
        super().__init__(architecture, layer, settings)
        self.requests = requests
        self.adds = adds
        """Whether gradients are there already: new ones are added to them and dropped."""

    def answer(self, linear: Linear) -> int:
        """Width of what a matrix gives."""
        return self.reading(linear) if self.answered != self.s.compute else self.s.compute

    def linear(self, linear: Linear, count_in: int, keep: bool, kept: Kept) -> int:
        """Forward. What is read is left alone; returns the output."""
        q, s, c = self.requests, self.s, self.s.compute
        count_out, answer = self.t * linear.outputs, self.answer(linear)
        narrow = q.take(c * count_in) if s.autocast and self.reading(linear) != c and not s.full else 0
        restored = self.restored(linear)
        out = q.take(c * count_out)
        if keep and s.keeps_weights:
            kept.weights[linear.path] = restored
        else:
            q.drop(restored)
        if answer != c:
            out = q.replaced(out, answer * count_out)
        q.drop(narrow)
        if s.full:
            if s.autocast and s.weight == 4:
                self._hold(kept.inputs, linear, q.take(c * count_in), keep)
            return out
        return self._adapter(linear, count_in, out, keep, kept) if linear.path in s.targets else out

    def _adapter(self, linear: Linear, count_in: int, out: int, keep: bool, kept: Kept) -> int:
        """Adds what the adapter makes of the same input to ``out``: peft's cast, dropout, autocast's cast, A and B, scaling."""
        q, s, c = self.requests, self.s, self.s.compute
        count_out, reading = self.t * linear.outputs, self.reading(linear)
        inner = self.inner(linear)
        cast = q.take(inner * count_in) if inner != reading else 0
        dropped = 0
        if s.dropout:
            dropped = q.take(max(inner, reading) * count_in)
            self._hold(kept.masks, linear, q.take(count_in), keep)
        if s.autocast and max(inner, reading) != c:
            self._hold(kept.inputs, linear, q.take(c * count_in), keep)
            q.drop(dropped)
        elif dropped:
            self._hold(kept.inputs, linear, dropped, keep)
        elif cast and keep:
            kept.inputs[linear.path], cast = cast, 0
        scaled = q.replaced(q.take(c * count_out), c * count_out)
        total = q.take(self.answer(linear) * count_out)
        q.drop(scaled, out, cast)
        return total

    def _hold(self, where: dict[str, int], linear: Linear, uid: int, keep: bool) -> None:
        if keep:
            where[linear.path] = uid
        else:
            self.requests.drop(uid)

    def restored(self, linear: Linear) -> int:
        """The matrix in compute dtype. auto-gptq unpacks to int32, casts to int8, then scales."""
        q, count = self.requests, linear.weight_count
        if self.s.quantized == "none" or linear.path in self.layer.unquantized:
            return 0
        if not self.s.keeps_weights:
            return q.take(self.s.compute * count)
        return q.replaced(q.replaced(q.take(4 * count), count), self.s.compute * count)

    def linear_backward(self, linear: Linear, count_in: int, kept: Kept) -> int:
        """From the gradient of the output, which is left alone, to that of the input."""
        q, s, c = self.requests, self.s, self.s.compute
        reading = self.reading(linear)
        path = self._adapter_backward(linear, count_in, kept) if not s.full and linear.path in s.targets else 0
        restored = kept.weights.get(linear.path, 0) if s.keeps_weights else self.restored(linear)
        incoming = q.take(c * self.t * linear.outputs) if self.answer(linear) != c else 0
        base = q.take(c * count_in)
        q.drop(incoming)
        if s.full:
            self._weight_gradient(linear, kept)
        if reading != c:
            base = q.replaced(base, reading * count_in)
        q.drop(restored)
        if not path:
            return base
        both = q.take(reading * count_in)
        q.drop(path, base)
        return both

    def _adapter_backward(self, linear: Linear, count_in: int, kept: Kept) -> int:
        q, s, c = self.requests, self.s, self.s.compute
        reading = self.reading(linear)
        wide = max(self.inner(linear), reading)
        q.touch(c * self.t * linear.outputs)
        path = q.take((c if s.autocast else s.adapter) * count_in)
        q.drop(kept.inputs.get(linear.path, 0))
        if s.autocast and wide != c:
            path = q.replaced(path, wide * count_in)
        path = self._joined(linear, count_in, path, kept)
        if s.dropout:
            path = q.replaced(path, wide * count_in)
            q.drop(kept.masks.get(linear.path, 0))
        return q.replaced(path, reading * count_in) if wide != reading else path

    def _joined(self, linear: Linear, count_in: int, path: int, kept: Kept) -> int:
        """The gradient of an adapter's input with what comes to it by other ways than through the adapter: nothing but DoRA's."""
        return path

    def _weight_gradient(self, linear: Linear, kept: Kept) -> None:
        q, s, count = self.requests, self.s, linear.weight_count
        gradient = q.take(s.compute * count)
        if s.autocast and s.weight != s.compute:
            gradient = q.replaced(gradient, s.weight * count)
        q.drop(kept.inputs.get(linear.path, 0))
        if self.adds:
            q.drop(gradient)
        else:
            kept.gradients.append(gradient)
