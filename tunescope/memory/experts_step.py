"""A mixture's stacked experts through forward and backward, tensor by tensor (transformers 5 ``integrations/moe.py``, grouped_mm).

All tokens' choices run at once, sorted by expert, so that bytes do not depend on how evenly the experts are loaded. An
adapter on experts is added to their weights: a copy of all of them lives while the layer runs (peft ``ParamWrapper``).
"""

from tunescope.memory.architecture import Architecture, Experts, Layer
from tunescope.memory.expert_adapters import DOWN, GATE, ROUTER
from tunescope.memory.layer_kept import LayerKept, LayerSettings


class ExpertsStep(LayerKept):
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

    def shared_gate_kept(self) -> int:
        return self.input_kept([self.shared_gate], self.h, True) if self.shared_gate is not None else 0

    def experts_passing(self) -> int:
        """Forward without a graph: the MLP's input, the stream, the tokens' rows, then the highest of three moments."""
        frames = (self.s.stream + self.normed) * self.h + (0 if self.shared_gate is None else self.s.compute * self.h)
        copies = self.up_copy + self.down_copy
        highest = max(
            4 * self.inner_rows + self.up_copy, self.chosen_rows + max(2 * self.weighted, self.inner_rows) + copies
        )
        return frames + self.read_rows + highest

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
        m.free(summed)
        return spread

    def experts_backward(self, spread: int) -> int:
        """Backward from ``spread``, which is let go. Returns the bytes of the gradient left for the MLP's input."""
        m, s = self.meter, self.s
        hidden = s.compute * self.h
        m.take(spread)
        ordered = m.take(spread)
        m.free(2 * spread)
        both = m.take(2 * spread)
        # What is recomputed goes as soon as it was read, what was kept when its node is done.
        m.free(self.chosen_rows if s.checkpointing else 0)
        cast = m.take(self.chosen_rows) if spread != self.chosen_rows else 0
        m.free(ordered + both - (0 if cast else spread) + (0 if s.checkpointing else self.chosen_rows))
        weights = m.take(self.down_gradient if self.down_trains else 0)
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
