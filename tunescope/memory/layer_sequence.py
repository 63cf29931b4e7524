"""The large tensors of one decoder layer in the order of their births and deaths: what the caching allocator is asked for.

``layer_step`` counts live bytes; a cache depends on order and on single sizes as well, and this tells them. It follows
what traces of the real models show (``worker/tracer``), without what is small beside an activation: vectors, statistics,
adapters, their gradients.
"""

from dataclasses import dataclass, field

from tunescope.memory.allocator import Change
from tunescope.memory.architecture import Architecture, Layer, Linear
from tunescope.memory.layer_kept import LayerKept, LayerSettings


class Requests:
    """Mallocs and frees, as they are asked for."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.sizes = [0]
        """By id."""

    def take(self, size: int) -> int:
        uid = len(self.sizes)
        self.sizes.append(size)
        self.changes.append((uid, size))
        return uid

    def drop(self, *uids: int) -> None:
        self.changes.extend((-uid, 0) for uid in uids if uid)

    def touch(self, size: int) -> None:
        """Taken and dropped at once."""
        self.drop(self.take(size))


@dataclass
class Kept:
    """What one layer's forward leaves for its backward: ids of tensors, 0 where there is none."""

    norms: list[int] = field(default_factory=list)
    inputs: dict[str, list[int]] = field(default_factory=dict)
    """By matrix: what its adapter (or its own gradient) reads."""
    masks: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    """By matrix: restored ones that backward finds again."""
    attention: list[int] = field(default_factory=list)
    mlp: list[int] = field(default_factory=list)
    product: int = 0
    gradients: list[int] = field(default_factory=list)

    def all(self) -> list[int]:
        """What backward lets go of."""
        inputs = [uid for uids in self.inputs.values() for uid in uids]
        return [*self.norms, *inputs, *self.masks.values(), *self.weights.values(), *self.attention, *self.mlp, self.product]


class LayerSequence(LayerKept):
    """One decoder layer, forward and backward, as a sequence."""

    def __init__(
        self, architecture: Architecture, layer: Layer, settings: LayerSettings, requests: Requests
    ) -> None:
        super().__init__(architecture, layer, settings)
        self.requests = requests
        self.adds = False
        """Whether gradients are there already: new ones are added to them and dropped."""
        experts = layer.experts
        self.product = self.t * layer.mlp_width
        self.routed = experts is not None
        if experts:
            self.ups, self.down = [], None
            self.product = self.t * experts.per_token * experts.intermediate

    # --- forward ---------------------------------------------------------------------------------------------------

    def forward(self, stream: int, keep: bool, kept: Kept) -> int:
        """From the residual stream to the next layer's; ``stream`` itself is left alone. Returns the new stream."""
        q = self.requests
        normal = self.norm(keep, kept)
        attended = self.attention(normal, keep, kept)
        between = stream
        if not self.parallel:
            q.drop(normal)
            between = q.take(self.s.stream * self.h)
            q.drop(attended)
            normal = self.norm(keep, kept)
        out = self.mlp(normal, keep, kept)
        new = q.take(self.s.stream * self.h)
        q.drop(normal, out, attended if self.parallel else between)
        return new

    def passed(self, like: Kept) -> Kept:
        """Forward of a layer like another, told by what it leaves: its temporaries find the other's blocks."""
        return Kept(mlp=[self.requests.take(self.requests.sizes[uid]) for uid in like.all() if uid])

    def passed_back(self, gradient: int, kept: Kept) -> int:
        """Backward of such a layer."""
        q = self.requests
        new = q.take(self.s.stream * self.h)
        if self.s.full:
            sizes = [self.s.weight * linear.weight_count for linear in self.layer.linears]
            kept.gradients = [q.take(size) for size in sizes]
            if self.adds:
                q.drop(*kept.gradients)
                kept.gradients = []
        q.drop(gradient, *kept.all())
        return new

    def norm(self, keep: bool, kept: Kept) -> int:
        q, s = self.requests, self.s
        if self.a.traits.layer_norm:
            wide = q.take(4 * self.h) if s.autocast and s.stream == 2 else 0
            out = q.take(self.normed * self.h)
        else:
            wide = q.take(4 * self.h) if s.stream == 2 else 0
            q.touch(4 * self.h)
            scaled = q.take(4 * self.h)
            narrow = q.take(s.compute * self.h)
            out = q.take(s.stream * self.h)
            q.drop(scaled)
            if keep and s.full:
                kept.norms.append(narrow)
            else:
                q.drop(narrow)
        if keep:
            kept.norms.append(wide)
        else:
            q.drop(wide)
        return out

    def linear(self, linear: Linear, count_in: int, count_out: int, keep: bool, kept: Kept) -> int:
        q, s, c = self.requests, self.s, self.s.compute
        reading = self.reading(linear)
        answer = reading if self.answered != c else c
        narrow = q.take(c * count_in) if s.autocast and reading != c and not s.full else 0
        restored = self.restored(linear)
        out = q.take(c * count_out)
        if keep and s.keeps_weights:
            kept.weights[linear.path] = restored
        else:
            q.drop(restored)
        if answer != c:
            wide = q.take(answer * count_out)
            q.drop(out)
            out = wide
        q.drop(narrow)
        if s.full:
            if s.autocast and s.weight == 4:
                self.keep_input(linear, q.take(c * count_in), keep, kept)
            return out
        if linear.path not in s.targets:
            return out
        cast = q.take(self.inner * count_in) if self.inner != reading else 0
        dropped = 0
        if s.dropout:
            dropped = q.take(max(self.inner, reading) * count_in)
            self.keep_mask(linear, q.take(count_in), keep, kept)
        read = 0
        if s.autocast and max(self.inner, reading) != c:
            read = q.take(c * count_in)
            self.keep_input(linear, read, keep, kept)
            q.drop(dropped)
        elif dropped:
            self.keep_input(linear, dropped, keep, kept)
        elif cast and not s.autocast and keep:
            kept.inputs.setdefault(linear.path, []).append(cast)
            cast = 0
        grown = q.take(c * count_out)
        scaled = q.take(c * count_out)
        q.drop(grown)
        total = q.take(answer * count_out)
        q.drop(scaled, out, cast)
        return total

    def keep_input(self, linear: Linear, uid: int, keep: bool, kept: Kept) -> None:
        if keep:
            kept.inputs.setdefault(linear.path, []).append(uid)
        else:
            self.requests.drop(uid)

    def keep_mask(self, linear: Linear, uid: int, keep: bool, kept: Kept) -> None:
        if keep:
            kept.masks[linear.path] = uid
        else:
            self.requests.drop(uid)

    def restored(self, linear: Linear) -> int:
        """The matrix in compute dtype. auto-gptq unpacks to int32, casts to int8, then scales."""
        q, count = self.requests, linear.weight_count
        if self.s.quantized == "none":
            return 0
        if not self.s.keeps_weights:
            return q.take(self.s.compute * count)
        unpacked = q.take(4 * count)
        narrow = q.take(count)
        q.drop(unpacked)
        scaled = q.take(self.s.compute * count)
        q.drop(narrow)
        return scaled

    def attention(self, normal: int, keep: bool, kept: Kept) -> int:
        q, wide = self.requests, self.answered
        projected = [self.linear(linear, self.h, self.t * linear.outputs, keep, kept) for linear in self.qkv]
        rotated = [0, 0] if self.a.traits.learned_positions else [self.rotated(wide * self.q), self.rotated(wide * self.k)]
        values = projected[-1:] if len(projected) == 3 else projected
        if len(projected) == 3 and rotated[0]:
            q.drop(*projected[:2])
        elif not rotated[0]:
            values = projected
        read = [*values, *rotated]
        if wide != self.s.compute:
            casts = [q.take(self.s.compute * size) for size in (self.q, self.k, self.k)]
            q.drop(*read)
            read = casts
        result = self.scores(keep, kept)
        out = self.linear(self.out, self.q, self.h, keep, kept)
        held = [*read, result]
        if keep:
            kept.attention += held
        else:
            q.drop(*held)
        return out

    def rotated(self, size: int) -> int:
        q = self.requests
        first = q.take(size)
        half = q.take(size // 2)
        turned = q.take(size)
        q.drop(half)
        second = q.take(size)
        q.drop(turned)
        out = q.take(size)
        q.drop(first, second)
        return out

    def scores(self, keep: bool, kept: Kept) -> int:
        q, c = self.requests, self.s.compute
        if self.s.attention != "eager":
            return q.take(c * self.q)
        count = self.a.heads * self.s.sequence * self.t
        raw = q.take(c * count)
        masked = q.take(c * count)
        q.drop(raw)
        soft = q.take(4 * count)
        q.drop(masked)
        narrow = q.take(c * count)
        if keep:
            kept.attention += [soft, narrow]
        else:
            q.drop(soft)
        out = q.take(c * self.q)
        turned = q.take(c * self.q)
        q.drop(out)
        if not keep:
            q.drop(narrow)
        return turned

    def mlp(self, normal: int, keep: bool, kept: Kept) -> int:
        q, size = self.requests, self.answered * self.product
        first, others = (self.ups[0], self.ups[1:]) if self.ups else (None, [])
        gate = self.up(first, keep, kept) if first else q.take(size)
        act = q.take(size)
        if not keep:
            q.drop(gate)
        held = [gate, act]
        product = act
        if self.a.traits.gated:
            up = 0
            if others or not self.ups:
                up = self.up(others[0], keep, kept) if others else q.take(size)
            product = q.take(size)
            if not keep:
                q.drop(act, up)
            held = [gate, act, up]
        out = self.linear(self.down, self.product, self.h, keep, kept) if self.down else q.take(self.s.compute * self.h)
        if not keep:
            q.drop(product)
            return out
        own_copy = self.down is None or self.down.path in kept.inputs or not (self.s.full or self.down.path in self.s.targets)
        if product != act:
            if own_copy:
                q.drop(product)
            else:
                kept.product = product
        elif own_copy:
            q.drop(act)
            held.remove(act)
        kept.mlp += held
        return out

    def up(self, linear: Linear, keep: bool, kept: Kept) -> int:
        return self.linear(linear, self.h, self.t * linear.outputs, keep, kept)

    # --- backward --------------------------------------------------------------------------------------------------

    def backward(self, gradient: int, kept: Kept) -> int:
        """From the gradient of the layer's output to that of its input."""
        q, s, c = self.requests, self.s, self.s.compute
        size = self.answered * self.product
        product = self.linear_backward(self.down, self.product, kept) if self.down else q.take(size)
        if self.a.traits.gated:
            silu, up = q.take(size), q.take(size)
            q.drop(*kept.mlp[1:], kept.product, product)
            total = self.linear_backward(self.ups[-1], self.h, kept) if len(self.ups) > 1 else 0
            if len(self.ups) > 1:
                q.drop(up)
            gate = q.take(size)
            q.drop(kept.mlp[0], silu)
            if self.ups:
                total = self.added(total, self.linear_backward(self.ups[0], self.h, kept))
            q.drop(gate, up if len(self.ups) <= 1 else 0)
        else:
            act = q.take(size)
            q.drop(product, *kept.mlp)
            total = self.linear_backward(self.ups[0], self.h, kept) if self.ups else 0
            q.drop(act)
        if not self.parallel:
            gradient = self.norm_backward(total, gradient, kept)
            total = 0
        total = self.attention_backward(kept, total)
        return self.norm_backward(total, gradient, kept)

    def linear_backward(self, linear: Linear, count_in: int, kept: Kept) -> int:
        q, s, c = self.requests, self.s, self.s.compute
        reading = self.reading(linear)
        inputs = kept.inputs.get(linear.path, [])
        path = 0
        if not s.full and linear.path in s.targets:
            q.touch(c * self.t * linear.outputs)
            path = q.take((c if s.autocast else s.adapter) * count_in)
            q.drop(*inputs)
            if s.autocast and max(self.inner, reading) != c:
                wide = q.take(max(self.inner, reading) * count_in)
                q.drop(path)
                path = wide
            if s.dropout:
                undropped = q.take(max(self.inner, reading) * count_in)
                q.drop(path, kept.masks.get(linear.path, 0))
                path = undropped
            if max(self.inner, reading) != reading:
                narrow = q.take(reading * count_in)
                q.drop(path)
                path = narrow
        restored = kept.weights.get(linear.path, 0) if s.keeps_weights else self.restored(linear)
        answer = reading if self.answered != c else c
        incoming = q.take(c * self.t * linear.outputs) if answer != c and not self.routed else 0
        base = q.take(c * count_in)
        q.drop(incoming)
        if s.full:
            narrow = q.take(c * linear.weight_count)
            if s.autocast and s.weight != c:
                wide = q.take(s.weight * linear.weight_count)
                q.drop(narrow)
                narrow = wide
            q.drop(*inputs)
            if self.adds:
                q.drop(narrow)
            else:
                kept.gradients.append(narrow)
        if reading != c:
            wide = q.take(reading * count_in)
            q.drop(base)
            base = wide
        q.drop(restored)
        if not path:
            return base
        both = q.take(reading * count_in)
        q.drop(path, base)
        return both

    def added(self, one: int, other: int) -> int:
        if not one:
            return other
        both = self.requests.take(self.normed * self.h)
        self.requests.drop(one, other)
        return both

    def attention_backward(self, kept: Kept, total: int) -> int:
        q, s, c = self.requests, self.s, self.s.compute
        gradient = self.linear_backward(self.out, self.q, kept)
        if s.attention == "eager":
            count = self.a.heads * s.sequence * self.t
            grads = q.take(c * count)
            wide = q.take(4 * count)
            q.drop(grads)
            soft = q.take(4 * count)
            q.drop(wide)
            back = q.take(c * count)
            q.drop(soft)
            grown: list[int] = []
            scratch = back
        else:
            scratch = q.take(4 * self.q)
            grown = [q.take(c * self.q), q.take(c * self.q)] if self.a.kv_heads != self.a.heads else []
        dq, dk, dv = q.take(c * self.q), q.take(c * self.k), q.take(c * self.k)
        q.drop(*grown, scratch, *kept.attention, gradient)
        if self.answered != c:
            wide = [q.take(self.answered * size) for size in (self.q, self.k, self.k)]
            q.drop(dq, dk, dv)
            dq, dk, dv = wide
        if not self.a.traits.learned_positions:
            dk = self.unrotated(dk, self.answered * self.k)
            dq = self.unrotated(dq, self.answered * self.q)
        if len(self.qkv) == 1:
            whole = q.take(self.answered * self.t * self.qkv[0].outputs)
            q.drop(dq, dk, dv)
            grads_by_matrix = [whole]
        else:
            grads_by_matrix = [dq, dk, dv]
        for linear, grads in zip(reversed(self.qkv), reversed(grads_by_matrix), strict=True):
            total = self.added(total, self.linear_backward(linear, self.h, kept))
            q.drop(grads)
        return total

    def unrotated(self, gradient: int, size: int) -> int:
        q = self.requests
        first = q.take(size)
        half = q.take(size // 2)
        turned = q.take(size)
        q.drop(half)
        second = q.take(size)
        q.drop(first)
        out = q.take(size)
        q.drop(turned, second, gradient)
        return out

    def norm_backward(self, total: int, gradient: int, kept: Kept) -> int:
        """Through a norm and onto the residual's own gradient."""
        q, s = self.requests, self.s
        back = self.through_layer_norm(total, kept) if self.a.traits.layer_norm else self.through_rms_norm(total, kept)
        both = q.take(s.stream * self.h)
        q.drop(gradient, back)
        return both

    def through_layer_norm(self, total: int, kept: Kept) -> int:
        q, s = self.requests, self.s
        wide = q.take(max(self.normed, s.stream) * self.h)
        q.drop(total, kept.norms.pop())
        if self.normed <= s.stream:
            return wide
        narrow = q.take(s.stream * self.h)
        q.drop(wide)
        return narrow

    def through_rms_norm(self, total: int, kept: Kept) -> int:
        q, s = self.requests, self.s
        scaled = q.take(s.stream * self.h)
        q.drop(total)
        wide = q.take(4 * self.h)
        q.drop(scaled)
        inner, first = q.take(4 * self.h), q.take(4 * self.h)
        q.drop(inner, wide)
        spread, power, raised, second = (q.take(4 * self.h) for _ in range(4))
        q.drop(raised, power, kept.norms.pop(), spread)
        if s.full:
            q.drop(kept.norms.pop())
        both = q.take(4 * self.h)
        q.drop(first, second)
        if s.stream == 4:
            return both
        narrow = q.take(s.stream * self.h)
        q.drop(both)
        return narrow
