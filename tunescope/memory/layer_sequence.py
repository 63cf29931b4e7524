"""The large tensors of one decoder layer in the order of their births and deaths: what the caching allocator is asked for.

``layer_step`` counts live bytes; a cache depends on order and on single sizes as well, and this tells them. It follows
what traces of the real models show (``worker/tracer``), without what is small beside an activation: vectors, statistics,
adapters, their gradients.
"""

from tunescope.memory.dora_sequence import DoraSequence
from tunescope.memory.native_allocator import UNIT
from tunescope.memory.requests import Kept


class LayerSequence(DoraSequence):
    """Forward and backward. With ``keep`` forward leaves in ``kept`` what backward needs; without, nothing."""

    # --- forward ---------------------------------------------------------------------------------------------------

    def forward(self, stream: int, keep: bool, kept: Kept) -> int:
        """From the residual stream, which is left alone, to the next layer's."""
        q = self.requests
        normal = self.norm(keep, kept)
        attended = self._attention(keep, kept)
        between = 0
        if not self.parallel:
            q.drop(normal)
            between = q.replaced(attended, self.s.stream * self.h)
            attended = 0
            normal = self.norm(keep, kept)
        out = self._experts(keep, kept) if self.layer.experts else self._mlp(keep, kept)
        new = q.take(self.s.stream * self.h)
        q.drop(normal, out, attended, between)
        return new

    def norm(self, keep: bool, kept: Kept) -> int:
        q, s = self.requests, self.s
        if self.a.traits.layer_norm:
            wide = q.take(4 * self.h) if s.autocast and s.stream == 2 else 0
            out = q.take(self.normed * self.h)
        else:
            wide = q.take(4 * self.h) if s.stream == 2 else 0
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

    def _attention(self, keep: bool, kept: Kept) -> int:
        q, c, wide = self.requests, self.s.compute, self.answered
        read = [self.linear(linear, self.h, keep, kept) for linear in self.qkv]
        if not self.a.traits.learned_positions:
            rotated = [self._rotated(wide * self.q), self._rotated(wide * self.k)]
            # In a fused projection v is a view: all of it stays.
            q.drop(*read[:-1])
            read = [read[-1], *rotated]
        if self._repeats_heads and not self.a.traits.learned_positions:
            # k and v for every head of q; what was read is [v or all, q, k].
            repeated = [q.take(wide * self.q) for _ in range(2)]
            q.drop(read[0], read[2])
            read = [read[1], *repeated]
        if wide != c:
            each = self.q if self.repeats else self.k
            casts = [q.take(c * size) for size in (self.q, each, each)]
            q.drop(*read)
            read = casts
        result = self._scores(keep, kept)
        out = self.linear(self.out, self.q, keep, kept)
        if keep:
            kept.attention += [*read, result]
        else:
            q.drop(*read, result)
        return out

    @property
    def _repeats_heads(self) -> bool:
        return self.repeats and 1 < self.a.kv_heads < self.a.heads

    def _rotated(self, size: int) -> int:
        q = self.requests
        first = q.take(size)
        half = q.take(size // 2)
        second = q.replaced(q.replaced(half, size), size)
        out = q.take(size)
        q.drop(first, second)
        return out

    def _scores(self, keep: bool, kept: Kept) -> int:
        q, c = self.requests, self.s.compute
        if self.s.attention != "eager":
            return q.take(c * self.q)
        count = self.a.heads * self.s.sequence * self.t
        masked = q.replaced(q.take(c * count), c * count)
        soft = q.replaced(masked, 4 * count)
        narrow = q.take(c * count)
        if keep:
            kept.attention += [soft, narrow]
        else:
            q.drop(soft)
        turned = q.replaced(q.take(c * self.q), c * self.q)
        if not keep:
            q.drop(narrow)
        return turned

    def _mlp(self, keep: bool, kept: Kept) -> int:
        assert self.down is not None
        q, count = self.requests, self.t * self.layer.mlp_width
        held = [self.linear(self.ups[0], self.h, keep, kept), q.take(self.answered * count)]
        product = held[-1]
        if not keep:
            q.drop(held[0])
        if self.a.traits.gated:
            # Gate and up in one matrix are views of its output.
            up = self.linear(self.ups[1], self.h, keep, kept) if len(self.ups) > 1 else 0
            held.append(up)
            product = q.take(self.answered * count)
            if not keep:
                q.drop(held[1], up)
        out = self.linear(self.down, count, keep, kept)
        if not keep:
            q.drop(product)
            return out
        reads_product = (self.s.full or self.down.path in self.s.targets) and self.down.path not in kept.inputs
        kept.mlp = [uid for uid in held if uid != product]
        if reads_product:
            kept.mlp.append(product)
        else:
            q.drop(product)
        return out

    def _experts(self, keep: bool, kept: Kept) -> int:
        """Experts run in ``expert_runs`` equal parts of the tokens' choices, and add to one output."""
        q, (state, inner) = self.requests, self._expert_sizes()
        total = q.take(self.normed * self.h)
        for _ in range(self.s.expert_runs):
            rows, gate = q.take(state), q.take(inner)
            act = q.take(inner)
            up = q.take(inner)
            product = q.take(inner)
            out = q.take(state)
            weighted = q.take(state)
            q.drop(rows, product, weighted)
            if keep:
                kept.experts.append([gate, act, up, out])
            else:
                q.drop(gate, act, up, out)
        return total

    def _expert_sizes(self) -> tuple[int, int]:
        experts = self.layer.experts
        assert experts is not None
        rows = self.t * experts.per_token // self.s.expert_runs
        return self.answered * rows * self.a.hidden, self.answered * rows * experts.intermediate

    def passed(self, left: list[int], kept: Kept) -> int:
        """Forward of a layer like another, told by the units of what it leaves: its temporaries find the other's blocks."""
        kept.mlp = [self.requests.take(size * UNIT) for size in left]
        return self.requests.take(self.s.stream * self.h)

    # --- backward --------------------------------------------------------------------------------------------------

    def backward(self, gradient: int, kept: Kept) -> int:
        """From the gradient of the layer's output to that of its input."""
        total = self._experts_backward(kept) if self.layer.experts else self._mlp_backward(kept)
        if not self.parallel:
            gradient = self.norm_backward(total, gradient, kept)
            total = 0
        return self.norm_backward(self._attention_backward(kept, total), gradient, kept)

    def passed_back(self, gradient: int, kept: Kept) -> int:
        """Backward of a layer that was ``passed``."""
        q = self.requests
        new = q.take(self.s.stream * self.h)
        if self.s.full:
            gradients = [q.take(self.s.weight * linear.weight_count) for linear in self.layer.linears]
            if self.adds:
                q.drop(*gradients)
            else:
                kept.gradients = gradients
        q.drop(gradient, *kept.all())
        return new

    def _mlp_backward(self, kept: Kept) -> int:
        assert self.down is not None
        q, count = self.requests, self.t * self.layer.mlp_width
        size = self.answered * count
        product = self.linear_backward(self.down, count, kept)
        if not self.a.traits.gated:
            act = q.take(size)
            q.drop(product, *kept.mlp)
            total = self.linear_backward(self.ups[0], self.h, kept)
            q.drop(act)
            return total
        silu, up = q.take(size), q.take(size)
        q.drop(*kept.mlp[1:], product)
        total = 0
        if len(self.ups) > 1:
            total = self.linear_backward(self.ups[1], self.h, kept)
            q.drop(up)
        gate = q.replaced(silu, size)
        q.drop(kept.mlp[0])
        total = self._added(total, self.linear_backward(self.ups[0], self.h, kept))
        q.drop(gate, up if len(self.ups) == 1 else 0)
        return total

    def _experts_backward(self, kept: Kept) -> int:
        q, (state, inner) = self.requests, self._expert_sizes()
        total = 0
        for gate, act, up, out in reversed(kept.experts):
            weighted = q.replaced(q.take(state), state)
            product = q.take(inner)
            silu, raised = q.take(inner), q.take(inner)
            q.drop(weighted, product, act, up, out)
            first = q.take(state)
            q.drop(raised)
            opened = q.replaced(silu, inner)
            rows = q.take(state)
            q.drop(gate, opened, first)
            total = self._added(total, q.replaced(rows, self.normed * self.h))
        return total

    def _added(self, one: int, other: int) -> int:
        if not one:
            return other
        both = self.requests.take(self.normed * self.h)
        self.requests.drop(one, other)
        return both

    def _attention_backward(self, kept: Kept, total: int) -> int:
        q, wide = self.requests, self.answered
        gradient = self.linear_backward(self.out, self.q, kept)
        grads = self._scores_backward(gradient, kept)
        if wide != self.s.compute:
            casts = [q.take(wide * size) for size in (self.q, self.k, self.k)]
            q.drop(*grads)
            grads = casts
        if not self.a.traits.learned_positions:
            grads[1] = self._rotated_back(grads[1], wide * self.k)
            grads[0] = self._rotated_back(grads[0], wide * self.q)
        if len(self.qkv) == 1:
            whole = q.take(wide * self.t * self.qkv[0].outputs)
            q.drop(*grads)
            grads = [whole]
        for linear, grad in zip(reversed(self.qkv), reversed(grads), strict=True):
            total = self._added(total, self.linear_backward(linear, self.h, kept))
            q.drop(grad)
        return total

    def _scores_backward(self, gradient: int, kept: Kept) -> list[int]:
        """Gradients of q, k and v. Flash attention has an fp32 buffer, and those of k and v for every head of q; so has what a mask
        leaves to the memory-efficient kernel, but it returns them."""
        q, s, c = self.requests, self.s, self.s.compute
        if s.attention == "eager":
            count = self.a.heads * s.sequence * self.t
            scratch = [q.replaced(q.replaced(q.replaced(q.take(c * count), 4 * count), 4 * count), c * count)]
        else:
            scratch = [q.take(4 * self.q)]
            if self._repeats_heads:
                dq, wide = q.take(c * self.q), [q.take(c * self.q) for _ in range(2)]
                q.drop(*scratch, *kept.attention, gradient)
                grads = [dq, q.take(c * self.k), q.take(c * self.k)]
                q.drop(*wide)
                return grads
            if self.a.kv_heads != self.a.heads:
                scratch += [q.take(c * self.q), q.take(c * self.q)]
        grads = [q.take(c * self.q), q.take(c * self.k), q.take(c * self.k)]
        q.drop(*scratch, *kept.attention, gradient)
        return grads

    def _rotated_back(self, gradient: int, size: int) -> int:
        q = self.requests
        first = q.take(size)
        half = q.take(size // 2)
        turned = q.replaced(half, size)
        second = q.replaced(first, size)
        out = q.take(size)
        q.drop(turned, second, gradient)
        return out

    def norm_backward(self, total: int, gradient: int, kept: Kept) -> int:
        """Through a norm and onto the residual's own gradient."""
        q, s = self.requests, self.s
        back = (
            self._layer_norm_backward(total, kept) if self.a.traits.layer_norm else self._rms_norm_backward(total, kept)
        )
        both = q.take(s.stream * self.h)
        q.drop(gradient, back)
        return both

    def _layer_norm_backward(self, total: int, kept: Kept) -> int:
        q, s = self.requests, self.s
        wide = q.replaced(total, max(self.normed, s.stream) * self.h)
        q.drop(kept.norms.pop())
        return q.replaced(wide, s.stream * self.h) if self.normed > s.stream else wide

    def _rms_norm_backward(self, total: int, kept: Kept) -> int:
        q, s = self.requests, self.s
        wide = q.replaced(q.replaced(total, s.stream * self.h), 4 * self.h)
        inner, first = q.take(4 * self.h), q.take(4 * self.h)
        q.drop(inner, wide)
        spread, power, raised, second = (q.take(4 * self.h) for _ in range(4))
        q.drop(raised, power, kept.norms.pop(), spread)
        if s.full:
            q.drop(kept.norms.pop())
        both = q.take(4 * self.h)
        q.drop(first, second)
        return q.replaced(both, s.stream * self.h) if s.stream != 4 else both
