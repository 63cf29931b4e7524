"""What FSDP holds whole on each GPU, beside its shards, while a step runs.

Read in torch 2.13, ``distributed/fsdp/_fully_shard`` (``_fsdp_param_group.py``, ``_fsdp_state.py``, ``_fsdp_collectives.py``), with every
decoder layer a group and the rest of the model the root's, as accelerate wraps transformers' models. ``tests/worker/test_fsdp_steps.py``
holds it against real steps.
"""

from dataclasses import dataclass

from tunescope.memory.architecture import Architecture
from tunescope.memory.persistent import WIDTHS, Persistent
from tunescope.memory.sites import Site
from tunescope.spec import JobSpec


@dataclass(frozen=True)
class Whole:
    """Bytes on each of ``gpus`` GPUs. ``layer``, ``root``: gathered weights of the largest layer's group and of the root's."""

    gpus: int
    layer: int
    root: int
    layer_gradients: int
    """Of one layer, before they are reduced to shards."""
    root_gradients: int
    head_gradients: int
    """Those of them that are there from the loss's backward on."""
    accumulated: int
    """Gradients of the micro batches before: they are reduced with the last one only (``Accelerator.no_sync``)."""

    @property
    def start(self) -> Site:
        """When forward begins: no activations yet, but more weights than later."""
        return Site("forward_start")

    def weights(self, site: Site) -> int:
        """Gathered weights, and gradients on their way to the other GPUs."""
        if site.name in ("load", "optimizer_step"):
            return 0
        reduced = 0 if self.accumulated else self.layer_gradients
        if site.name.startswith("layer_backward"):
            # One layer runs, the next is gathered, and what the one before gave is being reduced.
            return self.root + 2 * self.layer + reduced
        if site.name == "embedding_backward":
            # The root's weights go before its gradients are copied to be reduced.
            return max(self.root + reduced, 0 if self.accumulated else self.root_gradients)
        if site.name == "forward_start":
            # What a group was copied out of stays until the next group is: of the root beside the first layer's, of a layer beside the next.
            return self.root + 2 * self.layer + max(self.root, self.layer)
        # The last layer's stays until the root's forward ends; backward gathers it again before all else.
        return self.root + self.layer

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
            made = self.root_gradients
        elif site.name.startswith("layer_backward"):
            made = self.head_gradients
        return shards + made * (self.gpus - 1) // self.gpus


def whole(spec: JobSpec, architecture: Architecture, persistent: Persistent) -> Whole | None:
    """None where FSDP does not run, or has nobody to gather from."""
    gpus = spec.parallelism.gpus
    if spec.parallelism.strategy != "fsdp" or gpus == 1:
        return None
    compute = WIDTHS[spec.precision.dtype]
    tables = architecture.vocab * architecture.hidden * (1 if architecture.tied else 2)
    layers = sum(layer.count * layer.parameter_count(architecture.hidden) for layer in architecture.layers)
    largest = max(layer.parameter_count(architecture.hidden) for layer in architecture.layers)
    # What is stored in fp32 is cast before it is gathered; what is quantized is gathered as it is.
    quantized = spec.precision.quantization != "none"
    layer = (persistent.weights - compute * tables) * largest // layers if quantized else compute * largest
    adapters = max(persistent.layer_adapter_elements, default=0)
    full = spec.adaptation.method == "full"
    in_layer = largest if full else adapters
    in_layers = layers if full else sum(
        kind.count * count for kind, count in zip(architecture.layers, persistent.layer_adapter_elements, strict=True)
    )  # fmt: skip
    in_root = max(0, persistent.trained_elements - in_layers)
    accumulates = spec.batch.gradient_accumulation_steps > 1
    return Whole(
        gpus,
        layer + (0 if full else compute * adapters),
        compute * tables,
        compute * in_layer,
        compute * in_root,
        compute * min(in_root, architecture.vocab * architecture.hidden),
        compute * persistent.trained_elements if accumulates else 0,
    )
