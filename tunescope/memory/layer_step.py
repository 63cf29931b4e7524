"""One decoder layer through forward and backward, tensor by tensor: what it keeps, and how high its backward climbs.

A small replay of what autograd does, in bytes. The order of births and deaths follows torch's engine: the node with the
highest sequence number first, an input gradient is freed after its node ran, saved tensors with it. Traced figures of
the real models (tests/worker/test_tracer_agreement.py) hold it to account.
"""

from dataclasses import dataclass

from tunescope.memory.architecture import Architecture, Layer, Linear


@dataclass(frozen=True)
class LayerSettings:
    """What decides the activations of a layer. Widths of numbers in bytes."""

    tokens: int
    sequence: int
    batch: int
    stream: int
    """Width of the residual stream: 2, or 4 when embeddings or norms are fp32."""
    compute: int
    autocast: bool
    full: bool
    weight: int
    adapter: int
    dropout: bool
    attention: str
    quantized: str
    nested: bool
    targets: frozenset[str]
    checkpointing: bool
    keeps_weights: bool = False
    """Restored matrices are saved for backward (auto-gptq's plain matmul), not restored again there."""


@dataclass(frozen=True)
class LayerBytes:
    """Bytes kept until backward, the highest backward transient above them, and which half of the layer it is in."""

    kept: int
    backward: int
    backward_site: str


class _Meter:
    """A running count and its maximum."""

    __slots__ = ("_place", "now", "peak", "where")

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self.where = ""
        self._place = ""

    def at(self, place: str) -> None:
        self._place = place

    def take(self, count: int) -> int:
        self.now += count
        if self.now > self.peak:
            self.peak, self.where = self.now, self._place
        return count

    def free(self, count: int) -> None:
        self.now -= count


def layer_bytes(architecture: Architecture, layer: Layer, settings: LayerSettings) -> LayerBytes:
    """Bytes of one layer: kept by forward, and the peak of backward above what was kept before it began."""
    step = _LayerStep(architecture, layer, settings)
    return step.run()


class _LayerStep:
    def __init__(self, architecture: Architecture, layer: Layer, settings: LayerSettings) -> None:
        self.a, self.layer, self.s = architecture, layer, settings
        self.t = settings.tokens
        self.h = self.t * architecture.hidden
        self.q = self.t * architecture.q_width
        self.k = self.t * architecture.kv_width
        self.meter = _Meter()
        self.qkv = [linear for linear in layer.linears if linear.reads == "attention_input"]
        self.out = next(linear for linear in layer.linears if linear.reads == "attention_output")
        self.ups = [linear for linear in layer.linears if linear.reads == "mlp_input" and linear.outputs > 1]
        self.down = next((linear for linear in layer.linears if linear.reads == "mlp_product"), None)
        self.rows = self.t

    # --- forward: what each part keeps -------------------------------------------------------------------------

    def norm_kept(self) -> int:
        """fp32 input of the norm, and the normalized values too when its weight trains."""
        if self.a.traits.layer_norm:
            return self.s.stream * self.h
        return 4 * self.h + (self.s.stream * self.h if self.s.full else 0)

    def input_kept(self, readers: list[Linear], count: int, shared_elsewhere: bool) -> int:
        """What the readers of one activation of ``count`` numbers keep of it."""
        s = self.s
        if s.full:
            own = s.compute if s.autocast and s.weight == 4 else 0
            return len(readers) * own * count if own else (0 if shared_elsewhere else s.compute * count)
        adapted = [linear for linear in readers if linear.path in s.targets]
        if not adapted:
            return 0
        masks = len(adapted) * count if s.dropout else 0
        if not s.autocast:
            return (
                len(adapted) * s.adapter * count + masks
                if s.adapter != s.compute or s.dropout
                else (0 if shared_elsewhere else s.compute * count)
            )
        if s.adapter != s.compute or s.dropout:
            return len(adapted) * s.compute * count + masks
        return 0 if shared_elsewhere else s.compute * count

    def attention_kept(self) -> int:
        s, c = self.s, self.s.compute
        kept = c * (self.q + 2 * self.k)
        if s.attention == "eager":
            repeated = 2 * c * (self.q - self.k) if self.a.kv_heads != self.a.heads else 0
            scores = self.a.heads * s.sequence * self.t
            return kept + repeated + (4 + c) * scores
        return kept + c * self.q + 4 * self.a.heads * self.t

    def mlp_kept(self, width: int, rows: int) -> int:
        c = self.s.compute
        if not self.a.traits.gated:
            return c * rows * width
        return 3 * c * rows * width

    # --- backward ----------------------------------------------------------------------------------------------

    def linear_backward(self, linear: Linear, count_in: int, saved: int) -> int:
        """Backward of one linear that reads ``count_in`` numbers and kept ``saved`` bytes of them.

        Returns the bytes of the gradient it leaves for its input. The adapter's path runs first (it was recorded
        last) and lets its saved input go, then the frozen matrix adds into the same buffer.
        """
        m, s = self.meter, self.s
        c = s.compute
        gradient_in = c * count_in
        if linear.path in s.targets and not s.full:
            scaled = m.take(c * self.t * linear.outputs)
            m.free(scaled)
            path = m.take(gradient_in if s.autocast else s.adapter * count_in)
            if s.autocast and s.adapter != c:
                wide = m.take(s.adapter * count_in)
                m.free(path)
                path = wide
            if s.dropout:
                undropped = m.take(path)
                m.free(path)
                path = undropped
            if path != gradient_in:
                m.take(gradient_in)
                m.free(path)
            m.free(saved)
            base = self.dequantized(linear) + m.take(gradient_in)
            m.free(base + self.saved_weight(linear))
        else:
            m.take(gradient_in)
            temporary = self.dequantized(linear)
            if s.full:
                temporary += m.take(c * linear.weight_count) if s.weight == 4 and s.autocast else 0
            m.free(temporary + saved + self.saved_weight(linear))
        return gradient_in

    def saved_weight(self, linear: Linear) -> int:
        return self.s.compute * linear.weight_count if self.s.keeps_weights else 0

    def restored(self, linear: Linear) -> int:
        """The transient of restoring a matrix in forward. auto-gptq unpacks to int32, casts to int8, then scales to fp16."""
        if self.s.keeps_weights:
            return self.meter.take(5 * linear.weight_count)
        return self.dequantized(linear)

    def dequantized(self, linear: Linear) -> int:
        """The frozen matrix restored for the product: whole in compute dtype, and its nested constants in fp32."""
        count = linear.weight_count
        kind = "none" if self.s.keeps_weights else self.s.quantized
        if kind in ("nf4", "fp4"):
            return self.meter.take(self.s.compute * count + (4 * -(-count // 64) if self.s.nested else 0))
        if kind in ("int8", "gptq-int4", "gptq-int8"):
            return self.meter.take(self.s.compute * count)
        return 0

    def norm_backward(self, incoming: int) -> None:
        """RMSNorm in fp32: the gradient of the normalized values, of the input, and their sum at once."""
        m = self.meter
        product = m.take(incoming)
        wide = m.take(4 * self.h)
        m.free(product)
        first = m.take(4 * self.h)
        second = m.take(4 * self.h)
        m.free(second)
        m.free(wide)
        power = m.take(4 * self.h)
        scaled = m.take(4 * self.h)
        m.free(power)
        m.free(scaled)
        back = m.take(self.s.stream * self.h)
        m.free(first)
        m.free(back)

    def run(self) -> LayerBytes:
        s, m = self.s, self.meter
        c = s.compute
        width = self.layer.mlp_width
        attention_inputs = self.input_kept(self.qkv, self.h, False)
        out_input = self.input_kept([self.out], self.q, s.attention != "eager")
        norm = self.norm_kept()
        attention = norm + attention_inputs + self.attention_kept() + out_input
        mlp = norm
        experts = self.layer.experts
        product = self.rows * width
        product_kept = up_inputs = middle = 0
        if self.down is not None:
            product_kept = self.input_kept([self.down], product, False)
            up_inputs = self.input_kept(self.ups, self.h, False)
            middle = self.mlp_kept(width, self.rows)
            mlp += up_inputs + middle + product_kept
        routed = 0
        if experts:
            routed = (
                self.mlp_kept(experts.intermediate, self.t * experts.per_token) + 2 * c * self.h * experts.per_token
            )
            if s.full:
                routed += c * (self.h + self.t * experts.intermediate) * experts.per_token
            mlp += routed
        kept = attention + mlp + sum(self.saved_weight(linear) for linear in self.layer.linears)
        # Backward: the gradient of the layer's output, and the recomputed output itself under checkpointing.
        m.take(kept)
        m.take(s.stream * self.h)
        if s.checkpointing:
            m.at("recompute")
            self.recompute_end(product, product_kept, up_inputs)
        if experts:
            m.at("mlp")
            rows = self.t * experts.per_token
            wide = 3 * m.take(c * rows * experts.intermediate)
            m.take(wide - wide // 3)
            m.free(wide)
            m.free(routed)
        if self.down is not None:
            self.mlp_backward(product, product_kept, up_inputs, middle)
        m.at("norm")
        self.norm_backward(s.stream * self.h)
        m.free(norm)
        self.attention_backward(norm, attention_inputs, out_input)
        return LayerBytes(kept, m.peak - kept, m.where)

    def recompute_end(self, product: int, product_kept: int, up_inputs: int) -> None:
        """The end of recomputation, inside the last matrix: Python frames still hold the stream and the MLP's input."""
        if self.down is None:
            return
        m, s, c = self.meter, self.s, self.s.compute
        own_copy = product_kept > c * product or (product_kept > 0 and (s.adapter != c or s.dropout))
        frames = s.stream * self.h + (0 if up_inputs and not own_copy else 2 * c * self.h) + c * self.h
        held = m.take(frames) + (m.take(c * product) if own_copy or not product_kept else 0)
        if own_copy:
            m.free(product_kept)
        m.free(self.restored(self.down))
        if own_copy:
            m.take(product_kept)
            wide = m.take(s.adapter * product) if s.adapter != c else 0
            wide += m.take(s.adapter * product) if s.dropout and s.autocast else 0
            m.free(wide)
        m.free(held)

    def mlp_backward(self, product: int, product_kept: int, up_inputs: int, middle: int) -> None:
        s, m = self.s, self.meter
        c = s.compute
        assert self.down is not None
        m.at("mlp")
        gradient = self.linear_backward(self.down, product, product_kept)
        if self.a.traits.gated:
            silu, up = m.take(c * product), m.take(c * product)
            m.free(gradient)
            m.free(2 * middle // 3)
            total = 0
            for index, linear in enumerate(reversed(self.ups)):
                added = self.linear_backward(linear, self.h, up_inputs // len(self.ups))
                if index:
                    m.free(added)
                else:
                    total = added
                    if len(self.ups) == 2:
                        m.free(up)
                        gate = m.take(c * product)
                        m.free(silu)
                        silu = gate
            m.free(silu + (up if len(self.ups) == 1 else 0))
            m.free(middle - 2 * middle // 3)
        else:
            act = m.take(c * product)
            m.free(gradient + middle)
            total = self.linear_backward(self.ups[0], self.h, up_inputs)
            m.free(act)
        m.free(total)

    def attention_backward(self, norm: int, inputs: int, out_input: int) -> None:
        s, m, a = self.s, self.meter, self.a
        c = s.compute
        m.at("attention")
        gradient = self.linear_backward(self.out, self.q, out_input)
        kept = self.attention_kept()
        if s.attention == "eager":
            scores = a.heads * s.sequence * self.t
            value = m.take(c * self.q)
            grads = m.take(c * scores)
            m.free(gradient + c * scores)
            wide = m.take(4 * scores)
            m.free(grads)
            back = m.take(c * scores)
            m.free(wide + 4 * scores)
            both = m.take(2 * c * self.q)
            m.free(back + value + both)
            kept -= (4 + c) * scores
            dq, dkv = m.take(c * self.q), m.take(2 * c * self.k)
        else:
            padded = s.batch * (-(-s.sequence // 128) * 128)
            head = -(-a.head_dim // 32) * 32
            scratch = m.take(4 * padded * a.heads * head + 4 * padded * a.heads)
            dq, dkv = m.take(c * self.q), m.take(2 * c * self.k)
            grouped = m.take(2 * c * self.q) if a.kv_heads != a.heads else 0
            m.free(scratch + grouped + gradient)
        m.free(kept)
        rotated = m.take(2 * c * self.q)
        m.free(rotated)
        total = 0
        for index, linear in enumerate(reversed(self.qkv)):
            added = self.linear_backward(linear, self.h, inputs // len(self.qkv))
            if index:
                m.free(added)
            else:
                total = added
        m.free(dq + dkv + total)
        self.norm_backward(s.stream * self.h)
        m.free(norm)
