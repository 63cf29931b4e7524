"""One decoder layer through forward and backward, tensor by tensor: what it keeps, and how high its backward climbs.

A small replay of what autograd does, in bytes. The order of births and deaths follows torch's engine: the node with the
highest sequence number first, an input gradient is freed after its node ran, saved tensors with it. Traced figures of
the real models (tests/worker/test_formula_against_trace.py) hold it to account.
"""

from dataclasses import replace
from typing import NamedTuple

from tunescope.memory.architecture import Architecture, Experts, Layer, Linear
from tunescope.memory.experts_step import ExpertsStep
from tunescope.memory.layer_forward import LayerForward
from tunescope.memory.layer_kept import LayerBytes, LayerSettings


def layer_bytes(architecture: Architecture, layer: Layer, settings: LayerSettings) -> LayerBytes:
    """Bytes of one layer: kept by forward, and the peak of backward above what was kept before it began."""
    found = _LayerStep(architecture, layer, settings.of(layer)).run()
    if not found.held:
        return found
    first = _LayerStep(architecture, layer, settings.of(layer))
    first.begin_at_first_adapter()
    return replace(found, held_by_first=first.held())


def first_layer_backward(architecture: Architecture, layer: Layer, settings: LayerSettings) -> int:
    """The peak of backward above what is kept where no gradient is asked of the layer's input: it ends at the first adapter."""
    step = _LayerStep(architecture, layer, settings.of(layer))
    step.begin_at_first_adapter()
    return step.run().backward


def norm_backward_bytes(architecture: Architecture) -> int:
    """The height of a norm's backward, in bytes a number that it reads, beside what it kept of its input."""
    # RMSNorm: the gradient that came straight, and through the mean of squares those of ``norm_backward``.
    return 8 if architecture.traits.layer_norm else 5 * 4


class Kept(NamedTuple):
    """What a layer's forward keeps for its backward. Bytes, but for ``product``."""

    whole: int
    norm: int
    """Of each norm but the first."""
    first_norm: int
    attention_inputs: int
    out_input: int
    product: int
    """Numbers that the MLP's last matrix reads."""
    product_kept: int
    up_inputs: int
    middle: int
    """Between the MLP's matrices."""
    looped: int
    """By experts that run one by one."""
    after: int
    """Of each norm of what attention and MLP give."""


class _LayerStep(ExpertsStep, LayerForward):
    def norm_backward(self, kept: int) -> None:
        """RMSNorm in fp32: the gradients of the normalized values and of the input, which comes two ways. Lets go of what was ``kept``."""
        m = self.meter
        if self.a.traits.layer_norm:
            self.layer_norm_backward()
            m.free(kept)
            return
        product = m.take(self.s.stream * self.h)
        normalized = self.normalized_kept()
        m.free(normalized)
        wide = m.take(4 * self.h)
        m.free(product)
        first = m.take(4 * self.h)
        m.free(m.take(4 * self.h) + wide)
        # Through the mean of squares: its gradient spread, the input raised to 1, that doubled, and the product.
        spread = m.take(3 * 4 * self.h)
        second = m.take(4 * self.h)
        m.free(spread)
        m.take(4 * self.h)
        m.free(first + second)
        back = m.take(self.s.stream * self.h)
        m.free(4 * self.h + back + kept - normalized)

    def input_norm_backward(self, kept: int) -> None:
        """Of the norm before attention or MLP; where there is none, their gradient is added to the stream's."""
        if self.a.traits.norms_after:
            self.meter.free(self.meter.take((self.normed + self.s.stream) * self.h))
        else:
            self.norm_backward(kept)

    def layer_norm_backward(self) -> None:
        """One kernel: the gradient of its output, that of its input, and the latter in the stream's type."""
        m = self.meter
        incoming = m.take(self.normed * self.h)
        wide = m.take(max(self.normed, self.s.stream) * self.h)
        m.free(incoming)
        if self.normed > self.s.stream:
            m.free(m.take(self.s.stream * self.h))
        m.free(wide)

    def run(self) -> LayerBytes:
        s, m = self.s, self.meter
        kept = self.kept_by_forward()
        # Backward: the gradient of the layer's output.
        m.take(kept.whole)
        m.take(s.stream * self.h)
        routed = self.experts is not None and self.routed_graded
        spread = self.spread_gradient() if routed and self.shared_gate is None else 0
        self.forward_again(kept)
        if s.quantized == "int8" and s.checkpointing and not s.reentrant:
            self.recomputed, before = True, kept.whole
            kept = self.kept_by_forward()
            m.free(before - kept.whole)
        if kept.after:
            m.at("norm")
            self.norm_backward(kept.after)
        m.free(self.feed_forward_backward(kept, spread))
        if self.parallel:
            # The norm's output collects both gradients before its own backward.
            m.take(self.normed * self.h)
        elif self.mlp_graded:
            m.at("norm")
            self.input_norm_backward(kept.norm)
        if kept.after and self.mlp_graded:
            self.norm_backward(kept.after)
        if self.parallel or self.mlp_graded:
            self.attention_backward(kept.first_norm, kept.attention_inputs, kept.out_input)
        if s.attention in ("eager", "math") and self.input_graded and not (self.experts and not s.checkpointing):
            self.passing = max(self.passing, self.attention_passing(kept))
        ungraded = self.for_input_only(kept.norm or kept.after, kept.middle) + self.for_first_input()
        return LayerBytes(kept.whole, m.peak - kept.whole, m.where, ungraded, self.passing, self.held())

    def reads_stream(self, readers: list[Linear]) -> bool:
        """Whether what backward needs of the readers' input is the stream itself, which checkpointing keeps."""
        return self.s.stream == self.s.compute and self.kept_as_it_is(readers)

    def for_first_input(self) -> int:
        """Copies of matrices under DoRA that only the gradient of the layer's input needs: those of the first that are adapted."""
        first = next((group for group in (self.qkv, [self.out], self.ups) if self.adapted_any(group)), [])
        return sum(self.copied_weight(linear) for linear in first)

    def held(self) -> int:
        """What LLM.int8's nodes hold where a gradient is asked of it, one tensor for all that read it; or an adapter, which keeps it so."""
        if self.s.quantized != "int8":
            return 0
        held = self._held_of(self.qkv, self.h, self.input_graded)
        held += self._held_of([self.out], self.q, any(self.qkv_graded))
        if self.down is not None:
            held += self._held_of(self.ups, self.h, self.mlp_graded)
            held += self._held_of([self.down], self.rows * self.layer.mlp_width, self.product_graded)
        return held

    def _held_of(self, readers: list[Linear], count: int, graded: bool) -> int:
        kept = graded or any(self.adapted(linear) and self.reads_as_it_is(linear) for linear in readers)
        return self.reading(readers[0]) * count if kept else 0

    def held_product(self) -> int:
        return 0 if self.down is None else self.reading(self.down) * self.rows * self.layer.mlp_width

    def kept_by_forward(self) -> Kept:
        s, width = self.s, self.layer.mlp_width
        attention_inputs = self.input_kept(self.qkv, self.h, False)
        out_input = self.input_kept([self.out], self.q, self.out_reads_attended)
        after = self.norm_kept() if self.normed_after else 0
        norm = 0 if self.a.traits.norms_after else self.norm_kept()
        if self.a.traits.norms_after and s.checkpointing and self.reads_stream(self.qkv):
            attention_inputs -= s.compute * self.h
        # An fp32 stream is itself what the first norm keeps of it: under checkpointing the layer's own input.
        first_norm = norm - (s.stream * self.h if norm and s.checkpointing and s.stream == 4 else 0)
        mlp = 0 if self.parallel else norm
        product = self.rows * width
        product_kept = up_inputs = middle = looped = 0
        if self.down is not None:
            product_kept = self.input_kept([self.down], product, self.last_goes_back_first)
            up_inputs = self.input_kept(self.ups, self.h, False)
            middle = self.mlp_kept(width, self.rows)
            mlp += up_inputs + middle + product_kept
        if self.experts:
            mlp += self.experts_kept()
        elif self.layer.experts:
            looped = self.looped_experts(self.layer.experts)
            mlp += looped
        whole = first_norm + attention_inputs + self.attention_kept() + out_input + mlp + 2 * after
        whole += 2 * self.residual_mask() + sum(self.dora_kept(linear) for linear in self.layer.linears)
        whole += sum(self.saved_weight(linear) for linear in self.layer.linears)
        if not self.input_graded:
            whole -= self.for_input_only(norm or after, middle) + self.for_first_input()
        return Kept(
            whole,
            norm,
            first_norm,
            attention_inputs,
            out_input,
            product,
            product_kept,
            up_inputs,
            middle,
            looped,
            after,
        )

    def forward_again(self, kept: Kept) -> None:
        """Checkpointing's second forward, at its height; without it the height of the only one."""
        s, m = self.s, self.meter
        if s.checkpointing:
            m.at("recompute")
            if self.experts:
                asked = 0 < kept.up_inputs <= s.compute * self.h
                self.experts_recomputed(input_kept=asked and not s.dropout and self.inner(self.ups[0]) == s.compute)
                self.passing = self.experts_passing()
            else:
                self.recompute_end(kept.product, kept.product_kept, kept.after)
                self.passing = self.passed(kept.product)
            if s.dora:
                beside = self.dora_early(True, kept.norm) - kept.whole
                beside += 0 if s.reentrant or self.down is None else self.dora_gradient(self.down)
                m.free(m.take(max(0, beside)))
                self.passing = max(self.passing, self.dora_early(False, kept.norm))
            m.take(s.stream * self.h if s.reentrant else 0)
        elif self.experts:
            kept_input = self.router_trains or self.kept_as_it_is(self.ups)
            frames = self.stream_held() + self.residual_held() + (0 if kept_input else self.normed * self.h)
            self.passing = frames + self.weighing()
        elif self.input_graded:
            product_kept = kept.product_kept + (self.held_product() if self.inputs_held else 0)
            self.passing = self.end_of_forward(kept.product, product_kept, kept.after)
        if s.dora and not s.checkpointing:
            self.passing = max(self.passing, self.stream_held() + self.dora_early(True, kept.norm) - kept.whole)

    def feed_forward_backward(self, kept: Kept, spread: int) -> int:
        """MLP or experts; ``spread`` is the gradient that the experts are given. Returns what is held until they are through."""
        m, experts = self.meter, self.layer.experts
        held = 0
        if self.experts:
            m.at("mlp")
            shared = 0
            if self.shared_gate is not None:
                shared, held = self.shared_backward()
                spread = self.spread_gradient() if self.routed_graded else 0
            held += shared + (self.experts_backward(spread) if self.routed_graded else 0)
        elif experts:
            m.at("mlp")
            wide = 3 * m.take(self.s.compute * self.t * experts.per_token * experts.intermediate)
            m.take(wide - wide // 3)
            m.free(wide)
            m.free(kept.looped)
        if self.down is not None:
            self.mlp_backward(kept.product, kept.product_kept, kept.up_inputs, kept.middle)
        return held

    def attention_passing(self, kept: Kept) -> int:
        """The height of forward inside attention that computes its scores, beyond what the layer keeps."""
        passing = self.scores_passing() if self.s.attention == "eager" else self.products_passing()
        if self.s.checkpointing:
            return passing
        # Beyond what the layer will keep, of which no more than this is there yet.
        there = kept.norm + kept.attention_inputs + self.qk_norms_kept()
        as_it_is = self.normed * self.h if self.kept_as_it_is(self.qkv) else 0
        return passing + there + self.stream_held() - as_it_is - kept.whole

    def scores_passing(self) -> int:
        """Forward without a graph inside eager attention: masked scores, the same in fp32 (which only fp16 is spared) and their softmax
        (torch ``SoftMax.cpp``), beside what attention read, q, k, v and the latter two repeated."""
        c, a = self.s.compute, self.a
        scores = a.heads * self.row * self.t
        # Rotated by fp32 tables q and k are fp32, and the sum with an fp32 mask is.
        rotated = max(c, self.s.embedded)
        given = 4 if rotated == 4 else c + 4
        repeated = (rotated + c) * self.q if self.repeats_eagerly else 0
        inputs = rotated * (self.q + self.k) + c * self.k + self.normed * self.h
        return (given + 4) * scores + inputs + repeated

    def products_passing(self) -> int:
        """The same inside SDPA's plain products: scores and their softmax, a mask of a row's tokens, q, k and v, q scaled, and k and v
        repeated."""
        c, row = self.s.compute, self.s.sequence
        scores = self.a.heads * row * self.t
        return c * (2 * scores + row * row + 4 * self.q + 2 * self.k) + self.normed * self.h

    def looped_experts(self, experts: Experts) -> int:
        """What experts keep that run one after the other (transformers 4)."""
        c = self.s.compute
        kept = self.mlp_kept(experts.intermediate, self.t * experts.per_token) + 2 * c * self.h * experts.per_token
        if self.s.full:
            kept += c * (self.h + self.t * experts.intermediate) * experts.per_token
        return kept

    def shared_backward(self) -> tuple[int, int]:
        """Where a shared expert is weighed and added: (gradient of what it gave, gradient of the input through its gate)."""
        m, hidden = self.meter, self.s.compute * self.h
        assert self.shared_gate is not None
        if not (self.mlp_graded or self.adapted_any([self.shared_gate])):
            # It takes the place of the gradient of the layer's output.
            m.free(m.take(hidden))
            return 0, 0
        shared, product = m.take(hidden), m.take(hidden)
        m.free(product + hidden)
        return shared, self.linear_backward(self.shared_gate, self.h, self.shared_gate_kept(), self.mlp_graded)

    def mlp_backward(self, product: int, product_kept: int, up_inputs: int, middle: int) -> None:
        s, m = self.s, self.meter
        c = s.compute
        assert self.down is not None
        m.at("mlp")
        own = m.take(self.own_gradient())
        m.free(self.residual_mask())
        if self.last_goes_back_first:
            gradient = m.take(self.reading(self.down) * product)
        else:
            gradient = self.linear_backward(self.down, product, product_kept, self.product_graded)
        m.free(own)
        if not self.product_graded:
            return
        # Nothing else wants the gradient of the layer's output where the stream beside has none.
        m.free(0 if self.mlp_graded or self.parallel else s.stream * self.h)
        if self.a.traits.gated:
            silu, up = (m.take(self.answered * product if graded else 0) for graded in self.gate_and_up_graded)
            m.free(gradient)
            backward = self.apart_backward if len(self.ups) > 1 else self.together_backward
            total = backward(silu, up, up_inputs, middle)
        else:
            act = m.take(self.answered * product)
            if self.a.traits.spelled_gelu:
                # The gradients of the tanh's branch and of the cube's live beside that of the product.
                wide = 4 if s.autocast else c
                m.free(m.take(2 * wide * product))
            m.free(gradient + middle)
            total = self.linear_backward(self.ups[0], self.h, up_inputs, self.mlp_graded)
            m.free(act)
        m.free(total)

    def apart_backward(self, silu: int, up: int, up_inputs: int, middle: int) -> int:
        """From the gradients of the activated gate and of up to that of the MLP's input, through a matrix for each."""
        m = self.meter
        m.free(2 * middle // 3)
        gate_matrix, up_matrix = self.ups
        total = self.linear_backward(up_matrix, self.h, up_inputs // 2, self.mlp_graded)
        m.free(up)
        gate = m.take(silu)
        m.free(silu)
        m.free(self.linear_backward(gate_matrix, self.h, up_inputs // 2, self.mlp_graded))
        m.free(gate + middle - 2 * middle // 3)
        return total

    def together_backward(self, silu: int, up: int, up_inputs: int, middle: int) -> int:
        """The same where both are views of one matrix's output, whose gradient is put together from theirs."""
        m = self.meter
        m.free(middle // 3)
        gate = m.take(silu)
        m.free(silu + middle - middle // 3)
        whole = m.take(gate + up)
        m.free(gate + up)
        total = self.linear_backward(self.ups[0], self.h, up_inputs, self.mlp_graded)
        m.free(whole)
        return total

    def attention_backward(self, norm: int, inputs: int, out_input: int) -> None:
        s, m, a = self.s, self.meter, self.a
        c = s.compute
        m.at("attention")
        own = m.take(self.own_gradient())
        m.free(self.residual_mask())
        gradient = self.linear_backward(self.out, self.q, out_input, any(self.qkv_graded))
        # Nothing else wants the gradient of the stream where the layer's input has none.
        m.free(own + (0 if self.input_graded or self.parallel else s.stream * self.h))
        if not any(self.qkv_graded):
            return
        q_graded, k_graded, v_graded = self.qkv_graded
        kept = self.attention_kept() - (0 if self.input_graded else self.of_other_inputs())
        if s.attention == "eager":
            kept -= self.scores_backward(gradient)
        elif s.attention == "math":
            kept -= self.products_backward(gradient)
        else:
            padded = s.batch * (-(-s.sequence // 128) * 128)
            head = -(-a.head_dim // 32) * 32
            scratch = m.take(4 * padded * a.heads * head + 4 * padded * a.heads)
            m.take(c * (self.q + 2 * self.k))
            grouped = m.take(2 * c * self.q) if a.kv_heads != a.heads else 0
            m.free(scratch + grouped + gradient + c * (self.q + 2 * self.k))
        dq, dkv = m.take(c * self.q * q_graded), m.take(c * self.k * (k_graded + v_graded))
        m.free(kept)
        rotated = m.take(2 * c * max(self.q * q_graded, self.k * k_graded))
        m.free(rotated)
        total = 0
        for index, linear in enumerate(reversed(self.qkv)):
            added = self.linear_backward(linear, self.h, inputs // len(self.qkv), self.input_graded)
            if index:
                m.free(added)
            else:
                total = added
        m.free(dq + dkv + total)
        if self.input_graded:
            self.input_norm_backward(norm)

    def scores_backward(self, gradient: int) -> int:
        """Eager attention's, to the gradients of q, k and v where these have one. Returns the bytes of what was kept that it let go."""
        m, c = self.meter, self.s.compute
        q_graded, k_graded, v_graded = self.qkv_graded
        inner = q_graded or k_graded
        scores = self.a.heads * self.row * self.t
        value = m.take(c * self.q * v_graded)
        grads = m.take(c * scores * inner)
        # The values go with their product; those of a fused projection are views of it.
        gone = (c * self.q if self.repeats_eagerly else c * self.k if len(self.qkv) > 1 else 0) * inner
        dropped = scores if self.a.traits.attention_dropout else 0
        gone += ((self.softmax_kept() - 4) * scores - dropped) * v_graded
        m.free(gradient + gone)
        if dropped:
            undropped = m.take(grads)
            m.free(grads + dropped)
            grads, gone = undropped, gone + dropped
        soft = 4 * scores * (inner or c == 4)
        if inner:
            # The softmax runs in fp32: its gradient, its saved result and what it returns live at once.
            wide = grads
            if c != 4:
                wide = m.take(4 * scores)
                m.free(grads)
            returned = m.take(4 * scores)
            m.free(wide + soft)
            back = m.take(c * scores)
            m.free(returned)
            if self.a.traits.capped:
                m.free(m.take(c * scores) + c * scores)
                gone += c * scores
            both = m.take(c * self.q * (q_graded + k_graded))
            m.free(back + both)
        else:
            m.free(soft)
        m.free(value)
        return gone + soft

    def products_backward(self, gradient: int) -> int:
        """The same of SDPA's plain products."""
        m, c = self.meter, self.s.compute
        q_graded, k_graded, v_graded = self.qkv_graded
        inner = q_graded or k_graded
        scores = c * self.a.heads * self.row * self.t
        value = m.take(c * self.q * v_graded)
        grads = m.take(scores * inner)
        repeated = c * self.q * inner
        m.free(gradient + repeated)
        back = m.take(scores * inner)
        m.free(grads + scores)
        both = m.take(c * self.q * (q_graded + k_graded))
        m.free(back + value + both)
        return scores + repeated
