"""A mixture's stacked experts through forward and backward, tensor by tensor (transformers 5 ``integrations/moe.py``, grouped_mm).

All tokens' choices run at once, sorted by expert, so that bytes do not depend on how evenly the experts are loaded. An
adapter on experts is added to their weights: a copy of all of them lives while the layer runs (peft ``ParamWrapper``).
"""

from tunescope.memory.architecture import Architecture, Experts, Layer
from tunescope.memory.expert_adapters import DOWN, GATE, ROUTER
from tunescope.memory.first_layer import FirstLayer
from tunescope.memory.layer_kept import LayerSettings


class ExpertsStep(FirstLayer):
    """The routed part of a layer. A shared expert, if there is one, is the layer's own MLP."""

    def __init__(self, architecture: Architecture, layer: Layer, settings: LayerSettings) -> None:
        super().__init__(architecture, layer, settings)
        self.experts: Experts | None = layer.experts if settings.expert_runs == 1 else None
        if self.experts is None:
            return
        targets = frozenset() if settings.full else settings.targets
        per_token, inner = self.experts.per_token, self.experts.intermediate
        self.width = settings.weight if settings.full else settings.compute
        """Of what the experts compute in: their weights' own type, whatever autocast says."""
        self.chosen = self.t * per_token
        self.chosen_rows = self.width * self.chosen * architecture.hidden
        self.read_rows = self.normed * self.chosen * architecture.hidden
        """The same rows in the type of what they are taken from."""
        self.inner_rows = self.width * self.chosen * inner
        self.weighted = (
            max(self.width, 4 if architecture.traits.fp32_routing else 0) * self.chosen * architecture.hidden
        )
        matrix = self.width * self.experts.count * architecture.hidden * inner
        self.up_trains, self.down_trains = settings.full or GATE in targets, settings.full or DOWN in targets
        self.router_trains = settings.full or ROUTER in targets
        self.up_gradient, self.down_gradient = 2 * matrix, matrix
        self.up_copy, self.down_copy = (2 * matrix if GATE in targets else 0), (matrix if DOWN in targets else 0)
        self.shared_gate = next((linear for linear in layer.linears if linear.outputs == 1), None)

    def routing_kept(self) -> int:
        """Probabilities, the experts chosen and their weights, and three orders of the choices."""
        assert self.experts is not None
        weights = 4 if self.a.traits.fp32_routing else self.s.compute
        # A shared expert that trains keeps the same input.
        router_input = self.normed * self.h if self.router_trains and self.shared_gate is None else 0
        return 4 * self.t * self.experts.count + (4 * 8 + 4 + weights) * self.chosen + router_input

    def experts_kept(self) -> int:
        kept = self.routing_kept() + 3 * self.inner_rows + self.chosen_rows
        kept += self.up_copy + self.down_copy
        kept += self.chosen_rows if self.up_trains else 0
        kept += self.inner_rows if self.down_trains else 0
        if self.shared_gate is not None:
            kept += self.s.compute * self.h + self.shared_gate_kept()
        return kept

    @property
    def routed_graded(self) -> bool:
        """Whether backward runs through the routed experts at all."""
        return self.mlp_graded or self.up_trains or self.down_trains or self.router_trains

    def before_mlp(self, middle: int) -> int:
        return super().before_mlp(middle) + self.before_experts()

    def before_experts(self) -> int:
        """The routed part, where no gradient is asked of its input: copies of weights, the router's probabilities and what it weighs,
        what is activated, and a shared expert's output."""
        if self.experts is None:
            return 0
        shared = ungraded = 0
        if self.shared_gate is not None:
            shared = self.s.compute * self.h
            ungraded = 0 if self.adapted_any([self.shared_gate]) else shared
        if not (self.up_trains or self.down_trains or self.router_trains):
            return self.experts_kept() - shared - self.shared_gate_kept() + ungraded
        ungraded += self.up_copy
        ungraded += 0 if self.up_trains else 3 * self.inner_rows + self.down_copy
        ungraded += 0 if self.router_trains else 4 * self.t * self.experts.count + self.chosen_rows
        return ungraded

    def shared_gate_kept(self) -> int:
        """Its matrices keep the same input, where one of them trains."""
        if self.shared_gate is None:
            return 0
        return self.input_kept([self.shared_gate], self.h, self.s.full or self.adapted_any(self.ups))

    def experts_passing(self) -> int:
        """Forward without a graph: the MLP's input, the stream, the tokens' rows, then the highest of three moments."""
        frames = (self.s.stream + self.normed) * self.h + (0 if self.shared_gate is None else self.s.compute * self.h)
        copies = self.up_copy + self.down_copy
        highest = max(
            4 * self.inner_rows + self.up_copy, self.chosen_rows + max(2 * self.weighted, self.inner_rows) + copies
        )
        return frames + self.read_rows + highest

    def weighing(self) -> int:
        """What forward that keeps all needs beyond at the experts' end: the tokens' rows, what they give weighed, and that in the tokens'
        order."""
        rows = self.read_rows if not self.up_trains or self.read_rows != self.chosen_rows else 0
        return rows + max(2 * self.weighted, 0 if self.down_trains else self.inner_rows)

    def experts_recomputed(self, input_kept: bool) -> None:
        """The end of recomputation: what forward's names still hold, and the weighed rows.

        ``input_kept``: a shared expert's adapters keep the MLP's input itself.
        """
        m = self.meter
        # An fp32 stream is itself what the norm keeps of it.
        frames = (0 if self.s.stream == 4 else self.s.stream * self.h) + (
            0 if self.router_trains or input_kept else self.normed * self.h
        )
        frames += self.read_rows if not self.up_trains or self.read_rows != self.chosen_rows else 0
        last = max(self.weighted, 0 if self.down_trains else self.inner_rows)
        if self.shared_gate is not None:
            last += self.weighted - self.shared_gate_kept()
        m.free(m.take(frames + last + 8 * self.chosen))

    def spread_gradient(self) -> int:
        """The gradient of the sum over each token's experts, a row for every choice."""
        m = self.meter
        summed = m.take(4 * self.h if self.s.autocast else 0)
        spread = m.take(self.weighted)
        # Nothing else wants the gradient of the layer's output where the stream beside has none.
        ended = not self.mlp_graded and self.shared_gate is None
        m.free(summed + (self.s.stream * self.h if ended else 0))
        return spread

    def experts_backward(self, spread: int) -> int:
        """Backward from ``spread``, which is let go, to the first that trains. Returns the bytes of the gradient left for the MLP's input, if it has one."""
        m, s = self.meter, self.s
        hidden = s.compute * self.h
        weighed = self.chosen_rows if self.mlp_graded or self.router_trains else 0
        m.take(spread)
        ordered = m.take(spread)
        m.free(2 * spread)
        # Of the weighed rows, and of their weights where these have one.
        trains = self.mlp_graded or self.up_trains or self.down_trains
        both = m.take(spread * trains + (spread if weighed else 0))
        # What is recomputed goes as soon as it was read, what was kept when its node is done.
        m.free(weighed if s.checkpointing else 0)
        if not trains:
            m.free(ordered + both + weighed)
            return 0
        cast = m.take(self.chosen_rows) if spread != self.chosen_rows else 0
        m.free(ordered + both - (0 if cast else spread) + (0 if s.checkpointing else weighed))
        weights = m.take(self.down_gradient if self.down_trains else 0)
        if not (self.mlp_graded or self.up_trains):
            m.free(self.chosen_rows + weights + (self.inner_rows if self.down_trains else 0))
            return 0
        product = m.take(self.inner_rows)
        m.free(self.chosen_rows + self.down_copy + (self.inner_rows if self.down_trains else 0))
        m.free(0 if s.full and not s.accumulates else weights)
        m.take(2 * self.inner_rows)
        m.free(self.inner_rows + product)
        m.take(self.inner_rows)
        m.free(3 * self.inner_rows)
        m.take(2 * self.inner_rows)
        m.free(2 * self.inner_rows)
        weights = m.take(self.up_gradient if self.up_trains else 0)
        if not self.mlp_graded:
            m.free(2 * self.inner_rows + weights + self.chosen_rows)
            return 0
        rows = m.take(self.chosen_rows)
        if self.read_rows != self.chosen_rows:
            read = m.take(self.read_rows)
            m.free(rows)
            rows = read
        m.free(2 * self.inner_rows + self.up_copy + (self.chosen_rows if self.up_trains else 0))
        m.free(0 if s.full and not s.accumulates else weights)
        total = m.take(hidden)
        m.free(m.take(hidden) + rows)
        m.free(m.take(2 * hidden))
        m.free(self.routing_kept())
        return total
