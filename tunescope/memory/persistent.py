"""What lives on the GPU for the whole run, tensor by tensor, with the allocator's 512-byte rounding."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tunescope.memory.allocator import SMALL_SIZE
from tunescope.memory.architecture import Architecture, Layer, Linear
from tunescope.memory.expert_adapters import adapter_shapes, expert_names, expert_targets, taken_from_layers
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.memory.stored_weights import StoredWeights
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import say
from tunescope.spec import JobSpec

WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
EMBEDDINGS = frozenset(("embed_tokens", "wte", "word_embeddings"))
HEADS = frozenset(("lm_head", "embed_out", "output_layer"))
"""Names that families give the tables outside the layers."""


def rounded(count: int) -> int:
    """Bytes of one tensor in CUDA's caching allocator: a multiple of 512."""
    return (count + 511) // 512 * 512


@dataclass(frozen=True)
class Trainable:
    """``copies`` equal tensors of ``rows x columns`` (columns 0: a vector), ``width`` bytes a number."""

    rows: int
    columns: int
    copies: int
    width: int

    @property
    def elements(self) -> int:
        return self.rows * (self.columns or 1)

    @property
    def total(self) -> int:
        return self.elements * self.copies

    @property
    def stored(self) -> int:
        return rounded(self.elements * self.width) * self.copies


@dataclass(frozen=True)
class Persistent:
    """Bytes by kind, and the tensors that train."""

    weights: int
    quantization_state: int
    adapters: int
    trained: tuple[Trainable, ...]
    frozen_elements: int
    layer_adapter_elements: tuple[int, ...]
    """Of one layer of each kind."""
    layer_expert_elements: tuple[int, ...]
    """Those of them that are added to stacked experts."""
    targets: frozenset[str]
    unmatched: tuple[str, ...]

    @cached_property
    def trained_elements(self) -> int:
        return sum(tensor.total for tensor in self.trained)

    @cached_property
    def gradients(self) -> int:
        return sum(tensor.stored for tensor in self.trained)

    @cached_property
    def small_share(self) -> float:
        """Of the gradients' bytes, those of tensors that the allocator serves from blocks for small ones."""
        small = sum(tensor.stored for tensor in self.trained if tensor.elements * tensor.width <= SMALL_SIZE)
        return small / max(1, self.gradients)


def targets_of(
    spec: JobSpec, architecture: Architecture, stack: Stack = DEFAULT
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The layer matrices that get adapters, and the names that match nothing. Raises InvalidInput if none match."""
    if spec.adaptation.method == "full":
        return frozenset(), ()
    taken = taken_from_layers(architecture, stack)
    linears = {
        linear.path: linear
        for layer in architecture.layers
        for linear in layer.linears
        if linear.path.split(".")[-1] not in taken
    }
    experts = expert_targets(spec, architecture, stack)
    wanted = spec.adaptation.target_modules
    if wanted == "all-linear":
        return experts.union(linears), ()
    found = experts.union(path for path, linear in linears.items() if any(linear.matches(target) for target in wanted))
    names = expert_names(architecture.traits, stack)
    if not found and not outer_targets(spec):
        known = {path.split(".")[-1] for path in linears}.union(names)
        choices = ", ".join(sorted(known))
        fix, values = f"use all-linear, or some of {choices}", {"choices": choices}
        error = FieldError("adaptation.target_modules", "match nothing", fix, "targets_match_nothing", values)
        raise InvalidInput(say("targets_match_no_layer"), errors=[error])
    unknown = tuple(
        target
        for target in wanted
        if target.split(".")[-1] not in {*names, *outer_targets(spec)}
        and not any(linear.matches(target) for linear in linears.values())
    )
    return found, unknown


def persistent_tensors(spec: JobSpec, architecture: Architecture, stack: Stack) -> Persistent:
    """Weights, quantization constants, adapters and the list of trained tensors, before any sharding."""
    full = spec.adaptation.method == "full"
    width = weight_width(spec)
    leftover = 4 if stack.upcast == "all" and not full and spec.precision.quantization != "none" else width
    norm_width = 4 if stack.upcast in ("norms", "all") and not full and spec.precision.quantization != "none" else width
    targets, unmatched = targets_of(spec, architecture, stack)
    weights = constants = adapters = 0
    adapter_elements: list[int] = []
    expert_elements: list[int] = []
    trained: list[Trainable] = []
    for layer in architecture.layers:
        per_layer = on_experts = 0
        for tensor, tensor_width, quantized in _layer_tensors(layer, architecture, stack, width, norm_width):
            if quantized and spec.precision.quantization != "none":
                stored, state = _quantized(tensor.rows, tensor.columns, spec, architecture.stored)
                weights += stored * tensor.copies
                constants += state * tensor.copies
            else:
                weights += rounded(tensor.elements * tensor_width) * tensor.copies
            if full:
                trained.append(tensor)
        for linear in layer.linears:
            if linear.path in targets:
                added = _adapter(linear, spec, layer.count)
                trained += added
                adapters += sum(item.stored for item in added)
                per_layer += sum(item.elements for item in added)
        if layer.experts:
            shapes = list(
                adapter_shapes(layer.experts, architecture.hidden, targets, spec.adaptation.r, stack.transformers > 4)
            )
            added = [
                Trainable(rows, columns, copies * layer.count, adapter_width(spec)) for rows, columns, copies in shapes
            ]
            trained += added
            adapters += sum(item.stored for item in added)
            elements = sum(rows * columns * copies for rows, columns, copies in shapes)
            per_layer += elements
            on_experts = elements if stack.transformers > 4 else 0
        adapter_elements.append(per_layer)
        expert_elements.append(on_experts)
    for tensor, tensor_width in _outer_tensors(architecture, leftover, norm_width):
        weights += rounded(tensor.elements * tensor_width)
        if full:
            trained.append(tensor)
    for added in () if full else _outer_adapters(spec, architecture):
        trained.append(added)
        adapters += added.stored
    for module in _each_once(spec.adaptation.modules_to_save) if not full else ():
        copy = saved_module(module, architecture, adapter_width(spec) if stack.saved_modules_follow_adapters else width)
        trained.append(copy)
        adapters += copy.stored
    frozen = 0 if full else architecture.parameter_count
    return Persistent(
        weights,
        constants,
        adapters,
        tuple(trained),
        frozen,
        tuple(adapter_elements),
        tuple(expert_elements),
        targets,
        unmatched,
    )


def weight_width(spec: JobSpec) -> int:
    """Bytes of one unquantized weight as stored. fp32 masters outside ZeRO are the weights themselves, under autocast."""
    masters = spec.precision.master_weights and spec.adaptation.method == "full"
    if masters and spec.parallelism.strategy in ("none", "ddp", "fsdp"):
        return 4
    return WIDTHS[spec.precision.dtype]


def computing_width(spec: JobSpec) -> int:
    """``weight_width`` in forward and backward: FSDP casts its shards before it gathers them (accelerate's ``MixedPrecisionPolicy``)."""
    return WIDTHS[spec.precision.dtype] if spec.parallelism.strategy == "fsdp" else weight_width(spec)


def computing_adapter_width(spec: JobSpec) -> int:
    """``adapter_width`` in forward and backward."""
    return WIDTHS[spec.precision.dtype] if spec.parallelism.strategy == "fsdp" else adapter_width(spec)


def adapter_width(spec: JobSpec) -> int:
    """Bytes of one adapter weight. DeepSpeed casts every parameter to its 16-bit type and keeps fp32 copies itself; with FSDP
    accelerate widens what trains to fp32, but for models in 4 bit (``utils/fsdp_utils.py`` ``fsdp2_prepare_model``)."""
    if spec.parallelism.strategy.startswith("zero"):
        return WIDTHS[spec.precision.dtype]
    if spec.parallelism.strategy == "fsdp" and spec.precision.quantization == "none":
        return 4
    return WIDTHS[spec.precision.adapter_dtype]


def _layer_tensors(
    layer: Layer, architecture: Architecture, stack: Stack, width: int, norm: int
) -> Iterator[tuple[Trainable, int, bool]]:
    for linear in layer.linears:
        yield Trainable(linear.outputs, linear.inputs, layer.count, width), width, linear.path not in layer.unquantized
        if linear.bias:
            yield Trainable(linear.outputs, 0, layer.count, width), width, False
    for size in layer.norms:
        yield Trainable(size, 0, layer.count, width), norm, False
    experts = layer.experts
    if experts:
        hidden = architecture.hidden
        yield Trainable(experts.count, hidden, layer.count, width), width, stack.transformers == 4
        if stack.transformers >= 5:
            yield Trainable(experts.count * 2 * experts.intermediate, hidden, layer.count, width), width, False
            yield Trainable(experts.count * experts.intermediate, hidden, layer.count, width), width, False
        else:
            yield Trainable(experts.intermediate, hidden, layer.count * 3 * experts.count, width), width, True


def _outer_tensors(architecture: Architecture, width: int, norm: int) -> Iterator[tuple[Trainable, int]]:
    table = Trainable(architecture.vocab, architecture.hidden, 1, width)
    yield table, width
    if not architecture.tied:
        yield table, width
    if architecture.traits.head_bias:
        yield Trainable(architecture.vocab, 0, 1, width), width
    if architecture.position_count:
        yield Trainable(architecture.position_count, 0, 1, width), width
    yield Trainable(architecture.hidden * (2 if architecture.traits.layer_norm else 1), 0, 1, width), norm


def _adapter(linear: Linear, spec: JobSpec, copies: int) -> list[Trainable]:
    rank, width = spec.adaptation.r, adapter_width(spec)
    found = [Trainable(rank, linear.inputs, copies, width), Trainable(linear.outputs, rank, copies, width)]
    if spec.adaptation.use_dora:
        found.append(Trainable(linear.outputs, 0, copies, width))
    return found


def _each_once(modules: list[str]) -> list[str]:
    """However often, and by however much of its path, a module is named."""
    return list({module.split(".")[-1]: module for module in modules}.values())


def outer_targets(spec: JobSpec) -> frozenset[str]:
    """The tables outside the layers, by their last names, that ``target_modules`` names."""
    wanted = spec.adaptation.target_modules
    names = () if wanted == "all-linear" else wanted
    return frozenset(name.split(".")[-1] for name in names) & (EMBEDDINGS | HEADS)


def _outer_adapters(spec: JobSpec, architecture: Architecture) -> Iterator[Trainable]:
    """Two small matrices beside the embedding, and two beside the head, where either is named."""
    named, rank, width = outer_targets(spec), spec.adaptation.r, adapter_width(spec)
    for tables in (EMBEDDINGS, HEADS):
        if named & tables:
            yield Trainable(rank, architecture.hidden, 1, width)
            yield Trainable(architecture.vocab, rank, 1, width)


def saved_module(module: str, architecture: Architecture, width: int) -> Trainable:
    """The tensors of one of ``modules_to_save``. Raises InvalidInput for a name that the model has not."""
    name = module.split(".")[-1]
    if name in EMBEDDINGS or name in HEADS:
        return Trainable(architecture.vocab, architecture.hidden, 1, width)
    matched = [
        (layer.count, linear) for layer in architecture.layers for linear in layer.linears if linear.matches(module)
    ]
    if matched:
        _, linear = matched[0]
        return Trainable(linear.outputs, linear.inputs, sum(count for count, _ in matched), width)
    if name == "norm":
        # peft takes every module whose name ends so (``_set_trainable``): all norms, not only the last one.
        copies = architecture.layer_count * architecture.traits.norms_per_layer + 1
        return Trainable(architecture.hidden, 0, copies, width)
    if "norm" in name or name.startswith("ln_"):
        return Trainable(architecture.hidden, 0, architecture.layer_count, width)
    fix = "use embed_tokens or lm_head, or one of the model's layer matrices"
    error = FieldError(
        "adaptation.modules_to_save", f"{module} matches nothing", fix, "saved_matches_nothing", {"name": module}
    )
    raise InvalidInput(say("no_module_to_save", name=module), errors=[error])


def _quantized(rows: int, columns: int, spec: JobSpec, stored: StoredWeights | None) -> tuple[int, int]:
    """(bytes of the packed matrix, bytes of its constants).

    bitsandbytes 4-bit: blocks of 64 with an fp32 absmax, or (double) uint8 absmax with one fp32 per 256 blocks, a 256-entry
    code and an offset, and a 16-entry code (``functional.py:884``). int8: one fp32 per row. GPTQ: per group of inputs an
    fp16 scale and packed zeros, and int32 g_idx.
    """
    count = rows * columns
    kind = spec.precision.quantization
    if kind in ("nf4", "fp4"):
        blocks = -(-count // 64)
        code = rounded(64)
        if not spec.precision.double_quant:
            return rounded((count + 1) // 2), rounded(4 * blocks) + code
        nested = rounded(blocks) + rounded(4 * -(-blocks // 256)) + rounded(1024) + rounded(4)
        return rounded((count + 1) // 2), nested + code
    if kind == "int8":
        return rounded(count), rounded(4 * rows)
    bits = 4 if kind == "gptq-int4" else 8
    groups = (stored or StoredWeights(kind)).groups(columns)
    return rounded(count * bits // 8), rounded(2 * groups * rows) + rounded(groups * rows * bits // 8) + rounded(
        4 * columns
    )
