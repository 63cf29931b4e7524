"""The moments of a training step at which memory can peak, each with its own bytes by category, before sharding.

load · forward_end · loss_backward · layer_backward_last · layer_backward_first · embedding_backward · optimizer_step
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tunescope.memory.architecture import Architecture
from tunescope.memory.head_step import head_casts, head_widths, loss_bytes
from tunescope.memory.layer_inputs import input_bytes, mask_bytes, masks_for_nobody_bytes, masks_until, rotary_tables
from tunescope.memory.layer_kept import LayerBytes, LayerSettings
from tunescope.memory.layer_sites import LayersOfStep, layer_kinds
from tunescope.memory.layer_step import first_layer_backward, layer_bytes, norm_backward_bytes
from tunescope.memory.persistent import Persistent
from tunescope.memory.stack import Stack
from tunescope.memory.step_settings import layer_settings
from tunescope.memory.trained_modules import (
    embedding_gradient,
    embedding_temporary,
    embedding_trains,
    head_gradient,
)
from tunescope.memory.workload import Workload
from tunescope.spec import JobSpec


@dataclass(frozen=True)
class Site:
    """Bytes that come on top of the persistent ones at one moment; ``gradients`` is the share of them that exists."""

    name: str
    activations: int = 0
    logits: int = 0
    workspace: int = 0
    casts: int = 0
    gradients: int = 0


def training_sites(
    spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, persistent: Persistent
) -> tuple[Site, ...]:
    """All sites of one steady step."""
    settings = layer_settings(spec, architecture, work, stack, persistent)
    each = [layer_bytes(architecture, layer, settings) for layer in architecture.layers]
    step = Step(spec, architecture, work, stack, persistent, settings, each)
    layers = _layers(step)
    return (
        Site("load", workspace=_largest_matrix(architecture) if spec.precision.quantization != "none" else 0),
        _forward_end(step, layers),
        _loss_backward(step, layers),
        *_layers_backward(step, layers),
        _embedding_backward(step),
        Site("optimizer_step", input_bytes(spec, work), gradients=persistent.gradients),
    )


@dataclass(frozen=True)
class Step:
    """A steady step, and what several of its sites have in common. Bytes, but for ``hidden``."""

    spec: JobSpec
    architecture: Architecture
    work: Workload
    stack: Stack
    persistent: Persistent
    settings: LayerSettings
    each: Sequence[LayerBytes]
    """Of each kind of layer."""

    @cached_property
    def hidden(self) -> int:
        """Numbers that a layer hands to the next."""
        return self.work.tokens * self.architecture.hidden

    @cached_property
    def boundary(self) -> int:
        """What a layer hands to the next."""
        return self.settings.stream * self.hidden

    @cached_property
    def narrower(self) -> int:
        """What the embedding gives is in compute dtype even where the layers' sums are not: by so much it is less than they."""
        return self.hidden * (self.settings.stream - self.settings.embedded)

    @cached_property
    def embedding_trains(self) -> bool:
        return embedding_trains(self.spec)

    @cached_property
    def held(self) -> int:
        """By the layers' nodes, to the end of backward."""
        if self.stack.reentrant:
            return 0
        kinds = zip(self.architecture.layers, self.each, strict=True)
        first = self.each[self.architecture.order[0]]
        less = 0 if self.settings.checkpointing or self.embedding_trains else first.held - first.held_by_first
        return sum(layer.count * item.held for layer, item in kinds) - less

    @property
    def boundaries_held(self) -> bool:
        """Whether what layers hand on is among what nodes hold, as matrices read it unnormed."""
        return self.architecture.traits.norms_after and self.settings.checkpointing and self.held > 0

    @cached_property
    def ungraded(self) -> int:
        """What the first layer does not keep, as nobody asks for the gradient of its input."""
        if self.settings.checkpointing or self.embedding_trains:
            return 0
        return self.each[self.architecture.order[0]].without_input_gradient

    @cached_property
    def masks(self) -> int:
        return mask_bytes(self.spec, self.architecture, self.work, self.settings)

    @cached_property
    def tables(self) -> tuple[tuple[int, int], ...]:
        return rotary_tables(self.spec, self.architecture, self.work, self.settings.embedded)

    @cached_property
    def multiplied(self) -> int:
        """The embeddings before they were multiplied, where the product is what the first layer is given."""
        multiplies = self.architecture.traits.multipliers and self.settings.checkpointing
        return self.boundary - self.narrower if multiplies and not self.embedding_trains else 0

    @cached_property
    def given(self) -> int:
        """Batch, tables and masks. Checkpointing keeps masks as inputs of the layers; without it they go when the layers' forward ends."""
        masks = self.masks if self.settings.checkpointing else 0
        tables = sum(size for _, size in self.tables)
        return input_bytes(self.spec, self.work) + tables + masks + self.multiplied

    @cached_property
    def head_casts(self) -> int:
        return head_casts(self.spec, self.architecture, self.settings, self.stack)

    @cached_property
    def head_gradient(self) -> int:
        return head_gradient(self.spec, self.architecture, self.persistent)

    @cached_property
    def embedding_gradient(self) -> int:
        return embedding_gradient(self.spec, self.architecture, self.persistent, self.stack)

    @cached_property
    def accumulated(self) -> int:
        """Gradients are zeroed to None after each optimizer step, so only accumulation carries them into a forward."""
        return self.persistent.gradients if self.settings.accumulates else 0

    @cached_property
    def waiting(self) -> int:
        """A tied table's new gradient waits for the embedding's share before it is added to an older one."""
        waits = self.settings.full and self.settings.accumulates and self.architecture.tied
        return self.head_gradient if waits else 0


def _layers(step: Step) -> LayersOfStep:
    settings, architecture = step.settings, step.architecture
    first_climb = None
    if not settings.checkpointing and not step.embedding_trains:
        first_climb = first_layer_backward(architecture, architecture.layers[architecture.order[0]], settings)
    # Norms that train keep what they normalized, in the first layer in the embeddings' type.
    unwidened = 2 * step.narrower if settings.norms else 0
    masks = masks_until(step.spec, architecture, step.work, settings) if settings.checkpointing else ()
    return LayersOfStep(
        tuple(layer_kinds(step.spec, architecture, settings, step.persistent, step.each)),
        architecture.order,
        settings.checkpointing,
        0 if step.boundaries_held else step.boundary,
        lasting=step.held - (step.narrower if settings.checkpointing else step.ungraded + unwidened),
        gradients=step.persistent.gradients,
        earlier_gradients=step.embedding_gradient,
        gradients_there=step.accumulated + step.waiting,
        head_gradients=step.head_gradient,
        shared=(*masks, *step.tables),
        first_climb=first_climb,
    )


def _forward_end(step: Step, layers: LayersOfStep) -> Site:
    spec, settings = step.spec, step.settings
    read, _ = head_widths(spec, step.architecture, settings)
    logits = loss_bytes(spec, step.architecture, step.work, settings, step.stack).forward
    activations = layers.kept + step.given + read * step.hidden
    # With the loss in tiles, forward may be higher inside a layer than at the loss.
    inside = step.given + layers.passing + masks_for_nobody_bytes(spec, step.architecture, step.work, settings)
    if not settings.checkpointing:
        # The embeddings are held by the model's frame, also where the first layer keeps nothing of them.
        embedded = settings.compute * step.hidden if step.ungraded or settings.stream == 2 else 0
        inside += step.masks + embedded
    if activations + logits < inside:
        activations, logits = inside, 0
    activations += _cache(step)
    # Of 16-bit adapters the copies in another type are not cached.
    cached = not settings.checkpointing or settings.full or settings.adapter == 4
    casts = (layers.casts if cached else 0) + step.head_casts
    return Site("forward_end", activations, logits, 0, casts, step.accumulated)


def _cache(step: Step) -> int:
    """The keys and values that a model hands out although nobody generates: views, each of its layer's whole projection."""
    architecture, settings = step.architecture, step.settings
    if not architecture.traits.caches_projection or step.stack.transformers > 4:
        return 0
    width = settings.stream if settings.quantized in ("nf4", "fp4", "int8") else settings.compute
    return architecture.layer_count * width * step.work.tokens * (architecture.q_width + 2 * architecture.kv_width)


def _loss_backward(step: Step, layers: LayersOfStep) -> Site:
    settings = step.settings
    _, kept = head_widths(step.spec, step.architecture, settings)
    logits = loss_bytes(step.spec, step.architecture, step.work, settings, step.stack).backward
    at_loss = layers.kept + step.given + kept * step.hidden, max(logits, _head_backward(step))
    # The last norm's own backward, which is higher with the loss in tiles of many tokens.
    made = step.waiting if settings.accumulates else step.head_gradient
    at_norm = layers.kept + step.given + (4 + norm_backward_bytes(step.architecture)) * step.hidden, made
    casts = step.head_casts + (0 if settings.checkpointing else layers.casts)
    return Site("loss_backward", *max(at_loss, at_norm, key=sum), 0, casts, step.accumulated)


def _head_backward(step: Step) -> int:
    """The head's own backward: gradient of the logits, and those of its weight and its input."""
    if not step.head_gradient or step.spec.memory_savers.fused_loss:
        return 0
    of_input = step.settings.compute * step.hidden
    of_logits = step.settings.compute * step.work.tokens * step.architecture.vocab
    if not step.head_casts:
        return of_logits + of_input + step.head_gradient
    # The weight's is made in 16 bit and cast to fp32 when the logits' and the head's own copy have gone.
    return max(of_logits + of_input + step.head_casts, of_input + step.head_gradient)


def _layers_backward(step: Step, layers: LayersOfStep) -> tuple[Site, Site]:
    """Of the last layer and of the first."""
    settings = step.settings
    last, first = layers.backward()
    # Of embeddings in 16 bit the first layer's norms keep copies in fp32, beside its input and its residual.
    copies = step.narrower and settings.checkpointing and not settings.norms
    copied = (settings.stream + settings.embedded) * step.hidden if copies else 0
    return (
        Site("layer_backward_last", last.activations + step.given, 0, 0, last.casts, last.gradients),
        Site("layer_backward_first", first.activations + step.given + copied, 0, 0, first.casts, first.gradients),
    )


def _embedding_backward(step: Step) -> Site:
    settings = step.settings
    of_table = 1 if settings.full or step.embedding_trains else 2
    # Of nodes that ask nothing of the embedding there are none left.
    held_by_nodes = step.held if settings.checkpointing or step.embedding_trains else 0
    activations = held_by_nodes + step.multiplied + (step.boundary - step.narrower) * (0 if step.ungraded else of_table)
    if settings.full and step.architecture.tied:
        activations = step.waiting
    elif settings.accumulates:
        activations += step.embedding_gradient
    # What the layers are given goes with the first layer's backward; reentrant checkpointing's node holds it to the end.
    held = settings.checkpointing and step.stack.reentrant
    activations += step.given - step.multiplied if held else input_bytes(step.spec, step.work)
    temporary = embedding_temporary(step.spec, step.architecture, step.persistent)
    return Site("embedding_backward", activations, temporary, 0, 0, step.persistent.gradients)


def _largest_matrix(architecture: Architecture) -> int:
    """Weights are quantized one at a time: the 16-bit copy of the largest lives beside them while loading."""
    return 2 * max(linear.weight_count for layer in architecture.layers for linear in layer.linears)
