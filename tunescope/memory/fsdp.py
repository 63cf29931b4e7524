"""What FSDP holds whole on each GPU, beside its shards, while a step runs.

Read in torch 2.13, ``distributed/fsdp/_fully_shard`` (``_fsdp_param_group.py``, ``_fsdp_state.py``, ``_fsdp_collectives.py``), with the groups
that accelerate 1.15 makes (``utils/fsdp_utils.py`` ``fsdp2_prepare_model``): every decoder layer, the embedding, and the head with the last norm,
which stays gathered between forward and backward; a table that is both is one such group. ``tests/worker/test_fsdp_steps.py`` holds it
against real steps.
"""

from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.persistent import EMBEDDINGS, HEADS, WIDTHS, Persistent
from tunescope.memory.sites import Site
from tunescope.spec import JobSpec

FORWARD_START = Site("forward_start")
"""When forward begins: no activations yet, but more weights than later."""


@dataclass(frozen=True)
class Group:
    """Bytes of parameters that are gathered together, and of their whole gradients."""

    weights: int = 0
    gradients: int = 0


NO_GROUP = Group()


@dataclass(frozen=True)
class Whole:
    """Groups on each of ``gpus`` GPUs. ``layer`` is the largest layer's; ``shared`` is the table of a model that has one for both ends."""

    gpus: int
    layer: Group
    embedding: Group
    head: Group
    shared: Group
    accumulated: int
    """Gradients of the micro batches before: they are reduced with the last one only (``Accelerator.no_sync``)."""

    def weights(self, site: Site) -> int:
        """Gathered weights, and gradients on their way to the other GPUs."""
        if site.name in ("load", "optimizer_step"):
            return 0
        layer, shared, embedding, head = (
            self.layer.weights,
            self.shared.weights,
            self.embedding.weights,
            self.head.weights,
        )
        if site is FORWARD_START:
            # What a group was copied out of stays until the next group is.
            return shared + max(2 * embedding, 2 * layer + max(embedding, shared, layer))
        if site.name == "forward_end":
            # The last group's stays until the model's forward ends.
            return shared + (2 * head or layer)
        if site.name.startswith("layer_backward"):
            # One layer runs, the next is gathered, and what the group before gave is being reduced.
            reduced = max(self.layer.gradients, self.head.gradients if site.name == "layer_backward_last" else 0)
            return shared + 2 * layer + (0 if self.accumulated else reduced)
        if site.name == "embedding_backward":
            # Weights go before their gradients are copied to be reduced.
            reduced = 0 if self.accumulated else self.layer.gradients
            copied = 0 if self.accumulated else self.embedding.gradients + self.shared.gradients
            return max(shared + embedding + reduced, copied)
        return shared + head

    def gradients(self, site: Site, shards: int) -> int:
        """At a site where a step on one GPU of its own would leave ``shards`` of its gradients on each of many."""
        if site.name == "load":
            return 0
        if site.name == "optimizer_step":
            return shards
        if self.accumulated:
            return self.accumulated
        made = 0
        if site.name == "embedding_backward":
            made = self.embedding.gradients + self.shared.gradients
        elif site.name.startswith("layer_backward"):
            made = self.shared.gradients
        return shards + made * (self.gpus - 1) // self.gpus


def whole(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> Whole | None:
    """None where FSDP does not run, or has nobody to gather from."""
    gpus = spec.parallelism.gpus
    if spec.parallelism.strategy != "fsdp" or gpus == 1:
        return None
    compute = WIDTHS[spec.precision.dtype]
    full = spec.adaptation.method == "full"
    table = compute * architecture.vocab * architecture.hidden
    saved = {name.split(".")[-1] for name in spec.adaptation.modules_to_save}

    def table_group(names: frozenset[str]) -> Group:
        if full:
            return Group(table, table)
        # A copy trains beside the frozen table, and is gathered with it.
        copy = table if saved & names else 0
        return Group(table + copy, copy)

    tied = architecture.tied
    return Whole(
        gpus,
        _layer_group(spec, architecture, persistent),
        NO_GROUP if tied else table_group(EMBEDDINGS),
        NO_GROUP if tied else table_group(HEADS),
        table_group(EMBEDDINGS | HEADS) if tied else NO_GROUP,
        compute * persistent.trained_elements if spec.batch.gradient_accumulation_steps > 1 else 0,
    )


def _layer_group(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> Group:
    """Of the largest layer. What is stored in fp32 is cast before it is gathered; what is quantized is gathered as it is."""
    compute = WIDTHS[spec.precision.dtype]
    largest = max(layer.parameter_count(architecture.hidden) for layer in architecture.layers)
    if spec.adaptation.method == "full":
        return Group(compute * largest, compute * largest)
    frozen = compute * largest
    if spec.precision.quantization != "none":
        tables = architecture.vocab * architecture.hidden * (1 if architecture.tied else 2)
        layers = sum(layer.count * layer.parameter_count(architecture.hidden) for layer in architecture.layers)
        frozen = (persistent.weights - compute * tables) * largest // layers
    adapters = compute * max(persistent.layer_adapter_elements, default=0)
    return Group(frozen + adapters, adapters)
