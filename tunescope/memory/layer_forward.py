"""How high memory is inside a layer's forward, where frames and names hold tensors beside what backward will need.

Forward runs once where it keeps all; under checkpointing once without keeping, and again when backward comes to the layer.
"""

from tunescope.memory.architecture import Linear
from tunescope.memory.dora_step import DoraLinears
from tunescope.memory.layer_kept import Meter


class LayerForward(DoraLinears):
    """Forward of one layer, highest as a rule inside the MLP's last matrix."""

    def adapted(self, linear: Linear) -> bool:
        return not self.s.full and linear.path in self.s.targets

    def passed(self, product: int) -> int:
        """Forward that keeps nothing for backward: beside the residual and what the MLP reads, the highest of its last matrix, its
        last but one, and the product that the last one reads."""
        if self.down is None:
            return 0
        s, c, wide = self.s, self.s.compute, self.answered
        last = self.ups[-1]
        open_outputs = self.t * last.outputs
        activated = product if self.a.traits.gated else 0
        beside = activated if len(self.ups) > 1 else 0
        added = self.adding(open_outputs) + self.casts(last, self.h)[0] if self.adapted(last) else 0
        added = self.dora_height(last, self.h) or added
        up = wide * (beside + open_outputs) + max(added, self.restored_bytes(last))
        made = wide * (open_outputs + activated + product)
        added = sum(self.casts(self.down, product)) if self.adapted(self.down) else 2 * c * self.h * s.checkpointing
        added = self.dora_height(self.down, product) or added
        down = wide * (self.h + product) + max(added, self.restored_bytes(self.down))
        # Gate and up in one matrix are views of its output, which lives as long as either.
        down += wide * open_outputs if activated and not beside else 0
        # LLM.int8 holds what the MLP and its last matrix read, which is counted with what it holds of all layers.
        held = self.normed * self.h + wide * product if s.quantized == "int8" and not s.reentrant else 0
        read = 0 if self.a.traits.norms_after else self.normed * self.h
        return s.stream * self.h + read + max(up, made, down) - held + self.weights_returned()

    def casts(self, linear: Linear, count: int) -> tuple[int, int, int]:
        """An adapter's own copies of what it reads, one after the other: cast to its type, with some left out, cast by autocast."""
        s, reading = self.s, self.reading(linear)
        wide = max(self.inner(linear), reading)
        return (
            wide * count if wide != reading else 0,
            wide * count if s.dropout else 0,
            s.compute * count if s.autocast and wide != s.compute else 0,
        )

    def adding(self, count: int) -> int:
        """What an adapter adds to its matrix's output, and either the same before it was scaled or the sum."""
        added = self.s.compute if self.s.autocast else self.s.adapter
        return (added + max(added, self.answered)) * count

    def weights_returned(self) -> int:
        """Eager attention hands its weights out, and the layer's frame holds them to its end."""
        return self.s.compute * self.a.heads * self.row * self.t if self.s.attention == "eager" else 0

    def end_of_forward(self, product: int, product_kept: int, after: int) -> int:
        """What forward that keeps all needs beyond, at its height in the MLP: the layer's input too is held by the model's frame."""
        backward, self.meter = self.meter, Meter()
        self.meter.take(self.stream_held())
        self.to_the_end(product, product_kept, after)
        needed, self.meter = self.meter.peak, backward
        return needed

    def to_the_end(self, product: int, product_kept: int, after: int, whole: bool = True) -> None:
        """The MLP's last matrix, and the norm ``after`` it if there is one, beside all that the layer keeps. ``whole`` False: up to
        the last tensor that backward needs."""
        if self.down is None:
            return
        m, s = self.meter, self.s
        held = m.take(self.residual_held() + self.mlp_input_held())
        dropped = self.residual_mask()
        m.free(after + product_kept + dropped + self.dora_kept(self.down))
        self.last_opened(product)
        # What saves a tensor after the matrix needs what it gives.
        whole_matrix = whole or after > 0 or dropped > 0
        if self.runs_last(whole_matrix):
            self.last_matrix(product, product_kept, whole_matrix)
        else:
            m.take(product_kept)
        m.take(after + dropped)
        if dropped:
            m.free(m.take(2 * self.answered * self.h))
        m.free(held)
        if after:
            # The residual, the norm's input, and in fp32 what it normalized; to the end that multiplied, then in the stream's type.
            end = self.residual_held() + self.answered * self.h + 4 * self.h
            m.free(m.take(end + ((4 + s.stream) * self.h if whole else 0)))

    def last_opened(self, product: int) -> None:
        """The last matrix that reads the MLP's input, before anything is made of what it gives."""
        m, last = self.meter, self.ups[-1]
        given = self.t * last.outputs
        # One matrix for gate and up stands for all that is kept of both.
        later = self.mlp_kept(self.layer.mlp_width, self.rows) - self.answered * given if len(self.ups) == 1 else 0
        m.free(later)
        if self.adapted(last):
            inputs = self.input_kept([last], self.h, True) + self.dora_kept(last)
            m.free(inputs)
            m.free(self.restored(last))
            if self.decomposed(last):
                self.dora_forward(last, self.h, graph=True)
            m.take(inputs)
            cast, dropped, copied = self.casts(last, self.h)
            added = 0 if self.decomposed(last) else (cast if copied or dropped else 0) + self.adding(given)
            m.free(m.take(added))
        else:
            m.free(self.restored(last))
        m.take(later)

    def runs_last(self, whole: bool) -> bool:
        """Whether the MLP's last matrix runs at all: a frozen one of bitsandbytes saves nothing for backward, so recomputation stops
        before its input is made."""
        assert self.down is not None
        return whole or self.adapted(self.down) or not (self.in_four_bit(self.down) or self.in_eight_bit(self.down))

    @property
    def last_goes_back_first(self) -> bool:
        """Whether the backward of the MLP's last matrix comes before the layer is recomputed, as it needs nothing of it."""
        needed = self.residual_mask() or self.normed_after or self.runs_last(whole=False)
        return self.s.checkpointing and not self.s.reentrant and not needed

    def last_matrix(self, product: int, product_kept: int, whole: bool) -> None:
        """Leaves what it keeps."""
        m, s = self.meter, self.s
        assert self.down is not None
        adapted = self.adapted(self.down)
        itself = s.full or (adapted and self.reads_as_it_is(self.down))
        holds = s.quantized == "int8"
        read = m.take(0 if itself else self.reading(self.down) * product)
        m.take(product_kept if itself else 0)
        # torch's own product saves its inputs before it runs; where backward needs no more, it never does.
        own = adapted or whole or s.quantized != "none"
        restored = self.restored(self.down)
        out = m.take(self.answered * self.h if own else 0)
        m.free(restored)
        kept = 0 if itself else product_kept - (read if holds else 0)
        if self.decomposed(self.down):
            self.dora_forward(self.down, product, graph=True, whole=whole)
            m.take(kept + self.dora_kept(self.down))
        else:
            m.take(kept)
            if adapted:
                self.last_adapter(product, whole)
        m.free((0 if holds else read) + out)

    def last_adapter(self, product: int, whole: bool) -> None:
        m = self.meter
        assert self.down is not None
        cast, dropped, copied = self.casts(self.down, product)
        # One of them is what is kept.
        cast = m.take(cast if copied or dropped else 0)
        dropped = m.take(dropped if copied else 0)
        m.free(dropped)
        added = m.take(self.adding(self.h) if whole else 0)
        m.free(cast + added)

    def residual_held(self) -> int:
        """The stream beside the MLP, unless it is itself what the norm keeps of it; of parallel halves what attention gave."""
        if self.parallel:
            return self.answered * self.h
        if self.a.traits.norms_after:
            return 0 if self.kept_as_it_is(self.ups) else self.s.stream * self.h
        kept = self.s.stream == 4 or (self.a.traits.layer_norm and not self.s.autocast)
        return 0 if kept else self.s.stream * self.h

    def stream_held(self) -> int:
        """The layer's input, which the model's frame holds, unless it is itself what the first norm keeps of it."""
        if self.a.traits.norms_after:
            return 0 if self.kept_as_it_is(self.qkv) else self.s.stream * self.h
        return 0 if self.s.stream == 4 else self.s.stream * self.h

    def mlp_input_held(self) -> int:
        """What the MLP reads, unless it is kept as it is, or is the stream itself."""
        return 0 if self.a.traits.norms_after or self.kept_as_it_is(self.ups) else self.normed * self.h

    def kept_as_it_is(self, readers: list[Linear]) -> bool:
        """Whether backward needs what a norm gave to its ``readers``."""
        s = self.s
        if s.quantized == "int8":
            return True
        if s.full:
            return self.normed == s.compute
        return any(self.adapted(linear) and self.reads_as_it_is(linear) for linear in readers)

    def own_gradient(self) -> int:
        """Of what a half of the layer gives, where it is not the stream's: normed or multiplied before it is added, or of another type."""
        traits = self.a.traits
        other = self.s.stream != self.s.compute and self.answered == self.s.compute
        return (
            self.s.compute * self.h
            if other or traits.multipliers or traits.residual_dropout or self.normed_after
            else 0
        )

    def dora_early(self, graph: bool, normed: int) -> int:
        """The highest of forward while DoRA runs on a matrix before the MLP's last two, beside the layer's input. ``normed``: kept by
        each norm. Its products of weights decide where rows are few."""
        height, returned = 0, 0 if graph else self.weights_returned()
        as_it_is = graph and self.kept_as_it_is(self.qkv)
        there = (normed if graph else 0) + (0 if as_it_is else self.normed * self.h)
        for linear in self.qkv:
            there += self.answered * self.t * linear.outputs
            height = max(height, there + self.dora_height(linear, self.h, graph))
            there += self.input_kept([linear], self.h, True) + self.dora_kept(linear) if graph else 0
        decomposed = sum(map(self.dora_kept, self.qkv))
        inputs = self.input_kept(self.qkv, self.h, False)
        there = normed + inputs + decomposed + self.attention_kept() if graph else self.s.compute * self.q
        there += returned + self.answered * self.h
        height = max(height, there + self.dora_height(self.out, self.q, graph))
        if self.down is None or len(self.ups) == 1:
            return height
        # The norm between, and what the MLP reads.
        there = self.residual_held() + self.mlp_input_held() if graph else (self.s.stream + self.normed) * self.h
        if graph:
            there += 2 * normed + inputs + decomposed + self.attention_kept() + self.dora_kept(self.out)
            there += self.input_kept([self.out], self.q, self.out_reads_attended)
        there += returned + self.answered * self.t * self.ups[0].outputs
        return max(height, there + self.dora_height(self.ups[0], self.h, graph))

    def recompute_end(self, product: int, product_kept: int, after: int) -> None:
        """The end of recomputation under checkpointing.

        Backward stands at the first node that needs what is recomputed: the last adapter's, with its gradient scaled, or a norm
        ``after`` the MLP, with its gradient in fp32 and nothing kept of it yet. The older, reentrant kind runs to the layer's end before
        backward begins, and holds its output from then on.
        """
        if self.down is None:
            return
        m, s, c = self.meter, self.s, self.s.compute
        m.at("recompute")
        if s.reentrant:
            self.to_the_end(product, product_kept, after)
            return
        if self.residual_mask():
            gradient = 0
        elif after:
            # A norm that multiplies by its weight in fp32 casts its gradient first; others need the weight, which is saved, at once.
            gradient = (4 if self.answered != 4 and self.a.traits.fp32_norm_weight else 0) * self.h
        elif self.last_goes_back_first:
            # What is left of it is its input's gradient.
            gradient = self.answered * product
        else:
            gradient = self.dora_gradient(self.down) or self.own_gradient() + (
                c * self.h if self.adapted(self.down) else 0
            )
        m.take(gradient)
        self.to_the_end(product, product_kept, after, whole=False)
        m.free(gradient)
