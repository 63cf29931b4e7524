"""One matrix of a layer, with its adapter, through backward: what is live at each moment, in the order of torch's engine."""

from tunescope.memory import eight_bit
from tunescope.memory.architecture import Linear
from tunescope.memory.layer_kept import LayerKept


class LayerLinears(LayerKept):
    """The matrices of one layer on its meter."""

    def linear_backward(self, linear: Linear, count_in: int, saved: int, graded: bool = True) -> int:
        """Backward of one linear that reads ``count_in`` numbers and kept ``saved`` bytes of them.

        Returns the bytes of the gradient it leaves for its input, if that is ``graded``. The adapter's path runs first (it was
        recorded last) and lets its saved input go, then the frozen matrix adds into the same buffer.
        """
        m, s = self.meter, self.s
        c = s.compute
        reading = self.reading(linear)
        gradient_in = reading * count_in
        adapted = linear.path in s.targets and not s.full
        if adapted:
            scaled = m.take(c * self.t * linear.outputs)
            m.free(scaled)
        if not graded:
            return 0
        if adapted:
            path = m.take(gradient_in if s.autocast else s.adapter * count_in)
            masks = count_in if s.dropout and saved else 0
            m.free(saved - masks)
            inner = max(self.inner(linear), reading)
            if s.autocast and inner != c:
                wide = m.take(inner * count_in)
                m.free(path)
                path = wide
            self.joined(linear, count_in, path)
            if s.dropout:
                undropped = m.take(path)
                m.free(path + masks)
                path = undropped
            if path != gradient_in:
                m.take(gradient_in)
                m.free(path)
            base = self.dequantized(linear) + self.input_gradient(reading, count_in)
            m.free(base + self.saved_weight(linear))
        else:
            narrow = m.take(c * count_in)
            m.free(self.dequantized(linear))
            gradient = m.take(c * linear.weight_count) if s.full else 0
            m.free(saved + self.saved_weight(linear))
            if s.full:
                self.weight_gradient(linear, gradient)
            if reading != c:
                m.take(gradient_in)
                m.free(narrow)
        return gradient_in

    def joined(self, linear: Linear, count_in: int, path: int) -> None:
        """Gradients that come to an adapter's input by other ways than through the adapter, of ``path`` bytes: none but DoRA's."""

    def constants(self, linear: Linear) -> int:
        """Those of a 4-bit matrix that are quantized too, in fp32."""
        return 4 * -(-linear.weight_count // 64) if self.s.nested else 0

    def input_gradient(self, reading: int, count_in: int) -> int:
        """The product's gradient in compute dtype, then cast to the type of what was read."""
        m, c = self.meter, self.s.compute
        narrow = m.take(c * count_in)
        if reading == c:
            return narrow
        wide = m.take(reading * count_in)
        m.free(narrow)
        return wide

    def weight_gradient(self, linear: Linear, gradient: int) -> None:
        """Made in the type of the product, cast to the weight's; it stays, or is added to the one that is there."""
        m, s = self.meter, self.s
        if s.autocast and s.weight != s.compute:
            # The copy that autocast made for forward goes with the product's node, before the cast's.
            m.free(s.compute * linear.weight_count)
            wide = m.take(s.weight * linear.weight_count)
            m.free(gradient)
            gradient = wide
        if s.accumulates:
            m.free(gradient)

    def restored(self, linear: Linear) -> int:
        """Restore a matrix in forward. Returns the transient's bytes."""
        return self.meter.take(self.restored_bytes(linear))

    def restored_bytes(self, linear: Linear) -> int:
        """The transient of restoring a matrix in forward.

        auto-gptq unpacks to int32, casts to int8 (int16 for 8 bits), takes the zeros off and scales to fp16, with the scales
        gathered for every input where those are reordered (``qlinear_cuda_old.py``, ``qlinear_cuda.py``).
        """
        if self.in_eight_bit(linear):
            count_in, count_out = self.t * linear.inputs, self.t * linear.outputs
            return eight_bit.product_bytes(count_in, count_out, output_width=self.answered, half=self.s.half)
        if not self.s.keeps_weights:
            # bitsandbytes' product adds the nested constants' offset out of place (``backends/cuda/ops.py`` _dequant_linear_fallback).
            again = self.constants(linear) if self.in_four_bit(linear) else 0
            return again + self.dequantized_bytes(linear)
        narrow, wide = 2 if self.s.quantized == "gptq-int8" else 1, 2
        scaled = 2 * narrow + wide + (wide if self.s.reordered else 0)
        return max(4 + narrow, scaled) * linear.weight_count

    def dequantized(self, linear: Linear) -> int:
        """Restore the frozen matrix for a product of backward. Returns its bytes."""
        return self.meter.take(self.dequantized_bytes(linear))

    def dequantized_bytes(self, linear: Linear) -> int:
        """The frozen matrix restored for the product: whole in compute dtype, and its nested constants in fp32."""
        count = linear.weight_count
        kind = "none" if self.s.keeps_weights or linear.path in self.layer.unquantized else self.s.quantized
        if self.in_four_bit(linear):
            return self.s.compute * count + self.constants(linear)
        return self.s.compute * count if kind in ("int8", "gptq-int4", "gptq-int8") else 0
