"""What a layer does not keep where no gradient is asked of its input: the first one over a frozen embedding, without checkpointing."""

from tunescope.memory.architecture import Linear
from tunescope.memory.layer_kept import LayerKept


class FirstLayer(LayerKept):
    """Autograd records nothing before the first adapter, nor the dropout of what has no gradient."""

    input_graded = mlp_graded = product_graded = True
    """Whether the layer's input, the MLP's, and what the MLP's last matrix reads have a gradient."""
    qkv_graded = (True, True, True)
    gate_and_up_graded = (True, True)

    def begin_at_first_adapter(self) -> None:
        """Let the layer's input have no gradient."""
        self.input_graded = bool(self.s.norms)
        if self.input_graded:
            return
        qkv = tuple(self.adapted_any([linear]) for linear in self.qkv)
        self.qkv_graded = (qkv[0], qkv[1], qkv[2]) if len(qkv) == 3 else (qkv[0], qkv[0], qkv[0])
        self.mlp_graded = not self.parallel and self.adapted_any([*self.qkv, self.out])
        ups = tuple(self.mlp_graded or self.adapted_any([linear]) for linear in self.ups)
        self.product_graded = any(ups)
        self.gate_and_up_graded = (ups[0], ups[-1]) if ups else (True, True)

    def for_input_only(self, norm: int, middle: int) -> int:
        """Of what is kept, the bytes that only the gradient of the layer's input needs. ``norm``: kept by each of its norms;
        ``middle``: by the MLP between its matrices."""
        if self.s.norms:
            # The norm's weight trains: what it gave has a gradient, and what it normalized is needed.
            return 0 if self.a.traits.layer_norm else 4 * self.h
        beside = self.before_mlp(middle) if self.parallel else 0
        # Where norms come after attention and MLP, the first one's input has a gradient all the same.
        first = 0 if self.a.traits.norms_after else norm
        if self.adapted_any(self.qkv):
            return first + self._masks(self.qkv, self.h) + self.of_other_inputs() + beside
        first += self.attention_kept()
        if self.adapted_any([self.out]):
            if self.out_reads_attended and not self.inputs_held and self.reads_as_it_is(self.out):
                first -= self.s.compute * self.q
            return first + self._masks([self.out], self.q) + beside
        # The norm between, and the one that some families put after attention.
        between = 0 if self.parallel else norm * (2 if self.a.traits.norms_per_layer > 2 else 1)
        return first + between + self.before_mlp(middle)

    def of_other_inputs(self) -> int:
        """What attention as plain products keeps only for the gradients of those of q, k and v that have none, and norms of theirs.
        Fused kernels keep all for any."""
        s, c = self.s, self.s.compute
        if len(self.qkv) == 1:
            return 0
        q, k, v = (linear.path in s.targets for linear in self.qkv)
        unneeded = 0
        if self.a.traits.qk_norm:
            unneeded += 4 * ((0 if q else self.q) + (0 if k else self.k))
        if s.attention not in ("eager", "math"):
            return unneeded
        repeats = s.attention == "math" or self.repeats_eagerly
        repeated = c * (self.q if repeats else self.k)
        unneeded += (0 if k else c * self.q) + (0 if q else repeated)
        scores = self.a.heads * self.row * self.t
        if not (q or k):
            unneeded += repeated
            if s.attention == "eager":
                unneeded += (self.softmax_kept() - c + (c if self.a.traits.capped else 0)) * scores
        elif not v and s.attention == "eager":
            # The mask of what dropout left out belongs to the scores' gradient.
            unneeded += (self.softmax_kept() - 4 - self.a.traits.attention_dropout) * scores
        return unneeded

    def before_mlp(self, middle: int) -> int:
        """The part of the MLP, where no gradient is asked of its input."""
        if self.down is None:
            return 0
        if not self.adapted_any(self.ups):
            return middle + self._masks([self.down], self.rows * self.layer.mlp_width)
        masks = self._masks(self.ups, self.h)
        if len(self.ups) == 1 or all(self.adapted_any([linear]) for linear in self.ups):
            return masks
        # Of gate, what it is activated to, and up, the product keeps what the other's gradient needs.
        return masks + middle // 3 * (1 if self.adapted_any(self.ups[:1]) else 2)

    def adapted_any(self, linears: list[Linear]) -> bool:
        return any(linear.path in self.s.targets for linear in linears)

    def _masks(self, readers: list[Linear], count: int) -> int:
        return count * sum(1 for linear in readers if linear.path in self.s.targets) if self.s.dropout else 0
