"""estimate(spec, architecture, device): the VRAM of a fine-tune's peak on one GPU, by category.

Persistent tensors are counted one by one; the peak is the highest of the step's sites; fragmentation and CUDA's own
context are added last and carry the interval. No torch, no I/O, well under a millisecond.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tunescope.memory.architecture import Architecture
from tunescope.memory.attention_choice import refused_attention
from tunescope.memory.cached_blocks import cached_blocks
from tunescope.memory.capability import lack_of
from tunescope.memory.devices import DEFAULT_DEVICE, Device
from tunescope.memory.doubts import doubts
from tunescope.memory.effective_batch import effective_batch_sentence
from tunescope.memory.expert_adapters import refused_adapters
from tunescope.memory.fragmentation import Fragmentation, Reserve, fragmentation
from tunescope.memory.fsdp import FORWARD_START
from tunescope.memory.ledger import MemoryLedger
from tunescope.memory.lengths import Lengths
from tunescope.memory.persistent import Persistent, persistent_tensors, targets_of, weight_width
from tunescope.memory.sharding import Share, can_divide, offloads_weights, share
from tunescope.memory.sites import Site, training_sites
from tunescope.memory.stack import DEFAULT, Stack
from tunescope.memory.stored_weights import StoredWeights
from tunescope.memory.workload import Workload
from tunescope.problems import FieldError, InvalidInput
from tunescope.sentences import Sentence, say
from tunescope.spec import JobSpec
from tunescope.units import MIB

MAX_TOKENS = 100_000_000
"""Above this many tokens in one micro batch no answer would mean anything."""


@dataclass(frozen=True)
class SiteTotal:
    """A moment of the step and the bytes it needs, fragmentation and context included."""

    name: str
    total_bytes: int


@dataclass(frozen=True)
class Estimate:
    """The answer. ``ledger`` is the deciding site's and sums to ``total_bytes``; all bytes are per GPU."""

    ledger: MemoryLedger
    device: Device
    site: str
    sites: tuple[SiteTotal, ...]
    interval: tuple[int, int]
    assumption_sentences: tuple[Sentence, ...]
    trainable_parameters: int
    allocated_bytes: int
    """What ``torch.cuda.max_memory_allocated`` will say."""
    tier: Literal["formula"] = "formula"
    per_gpu: bool = field(default=True)
    settled_bytes: int | None = None
    """What nvidia-smi goes on to show where the cache fills the card and the allocator gives blocks back; None elsewhere."""
    when_full: Sentence | None = None
    """What comes of it where blocks that lie cached fill the card, as far as that is known."""
    runs_out: bool = False
    """Whether a replay of the step on this card ran out of memory."""

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the answer takes for granted, in words."""
        return tuple(sentence.text for sentence in self.assumption_sentences)

    @property
    def total_bytes(self) -> int:
        return self.ledger.total_bytes

    @property
    def fits(self) -> bool:
        return self.total_bytes <= self.device.total_bytes

    @property
    def fit(self) -> Literal["yes", "tight", "no"]:
        """``tight``: it runs only by giving cached blocks back, or only at the low end of the interval."""
        if self.runs_out:
            return "no"
        if self.interval[1] <= self.device.total_bytes:
            return "yes"
        return "tight" if self.interval[0] <= self.device.total_bytes else "no"

    def to_dict(self) -> dict[str, Any]:
        """The shape that CLI and REST share."""
        return {
            "total_bytes": self.total_bytes,
            "ledger": self.ledger.to_dict(),
            "per_gpu": self.per_gpu,
            "device": {"name": self.device.name, "total_bytes": self.device.total_bytes},
            "fits": self.fits,
            "fit": self.fit,
            "assumptions": list(self.assumptions),
            "assumption_sentences": [sentence.model_dump() for sentence in self.assumption_sentences],
            "interval": list(self.interval),
            "settled_bytes": self.settled_bytes,
            "when_full": self.when_full and self.when_full.model_dump(),
            "tier": self.tier,
            "site": self.site,
            "sites": [{"name": item.name, "total_bytes": item.total_bytes} for item in self.sites],
            "trainable_parameters": self.trainable_parameters,
            "allocated_bytes": self.allocated_bytes,
        }


def estimate(
    spec: JobSpec,
    architecture: Architecture,
    device: Device = DEFAULT_DEVICE,
    lengths: Lengths | None = None,
    stack: Stack = DEFAULT,
    limited: bool = True,
) -> Estimate:
    """Predict the peak VRAM of ``spec`` on one ``device``. Raises InvalidInput for settings that cannot be.

    ``limited`` False lets pass what no machine runs but has a number: for the mixtures of two specs that an explanation goes
    through.
    """
    work = workload(spec, architecture, lengths)
    check(spec, architecture, work, stack, limited)
    persistent = persistent_tensors(spec, architecture, stack)
    stored_as_master = persistent.weights if weight_width(spec) == 4 and spec.precision.dtype != "float32" else 0
    held = share(spec, architecture, persistent, stack)
    sites = training_sites(spec, architecture, work, stack, persistent)
    if held.whole is not None:
        sites = (*sites, FORWARD_START)
    base = _base_ledger(held, device, stored_as_master)
    ledgers = {site.name: base + _site_ledger(site, held) for site in sites}
    spread = _spread(spec, work, lengths, stack)
    winner = max(ledgers, key=lambda name: ledgers[name].total_bytes)
    context = device.context_band(stack.context_bytes)
    reserves = [
        Reserve(
            site,
            ledgers[site.name].total_bytes,
            held.step_temporary,
            spec.memory_savers.gradient_checkpointing,
            held.optimizer_states + ledgers[site.name]["gradients"],
            _small_cached(spec, site, held, persistent),
        )
        for site in sites
    ]
    blocks = cached_blocks(spec, architecture, work, stack, persistent, held)
    fragments = fragmentation(reserves, blocks, spread, device.total_bytes - context[1], spec.parallelism.strategy)
    allocated = ledgers[winner].total_bytes - held.communication
    overhead = MemoryLedger({"fragmentation": fragments.expected, "runtime_context": context[1]})
    ledger = ledgers[winner] + overhead
    totals = tuple(
        sorted(
            (SiteTotal(name, item.total_bytes + overhead.total_bytes) for name, item in ledgers.items()),
            key=lambda item: -item.total_bytes,
        )
    )
    interval = _interval(spec, architecture, stack, allocated + held.communication, fragments, context)
    notes = _assumptions(
        spec, architecture, work, lengths, stack, device, persistent.unmatched, spread > 1.0,
        0 if held.whole is None else held.whole.accumulated,
    )  # fmt: skip
    beside_cache = ledgers[winner].total_bytes + context[1]
    settled = None if fragments.settled is None else beside_cache + fragments.settled
    return Estimate(
        ledger, device, winner, totals, interval, notes, persistent.trained_elements, allocated,
        settled_bytes=settled, when_full=_when_full(fragments, settled, beside_cache < device.total_bytes),
        runs_out=fragments.runs_out,
    )  # fmt: skip


def _small_cached(spec: JobSpec, site: Site, held: Share, persistent: Persistent) -> int:
    """Blocks that the optimizer's step leaves of small gradients and temporaries, less those that are in use at a site.

    Adapters are as a rule such tensors, in whose blocks no activation fits.
    """
    if spec.parallelism.strategy not in ("none", "ddp") or site.name == "optimizer_step":
        return 0
    left = persistent.gradients + held.step_temporary - site.gradients - site.casts
    return max(0, int(persistent.small_share * left))


def workload(spec: JobSpec, architecture: Architecture, lengths: Lengths | None) -> Workload:
    """The longest micro batch: rows padded to the longest row, which max_length and a table of positions cap."""
    longest = spec.data.max_length
    if architecture.traits.learned_positions and architecture.max_positions:
        longest = min(longest, architecture.max_positions)
    if lengths and not spec.data.packing:
        longest = min(longest, max(1, lengths.longest))
    return Workload(spec.batch.per_device_train_batch_size, longest)


def _spread(spec: JobSpec, work: Workload, lengths: Lengths | None, stack: Stack) -> float:
    """Longest micro batch over the median one; 1 where all are alike."""
    if spec.data.packing:
        return 1.0
    lengths = lengths or stack.rows
    if lengths is None:
        return 1.0
    return lengths.spread(spec.data.max_length, work.batch, stack.drops_long_rows)


def check(spec: JobSpec, architecture: Architecture, work: Workload, stack: Stack, limited: bool = True) -> None:
    """Refuse settings that no machine can run, naming the field."""
    errors: list[FieldError] = []
    if limited:
        errors += [*refused_adapters(spec, architecture, stack), *refused_attention(spec, architecture, stack)]
    if limited and work.tokens > MAX_TOKENS:
        errors.append(
            FieldError(
                "data.max_length",
                f"{work.tokens:,} tokens in one micro batch",
                f"stay under {MAX_TOKENS:,}",
                "too_many_tokens",
                {"tokens": work.tokens, "most_tokens": MAX_TOKENS},
            )
        )
    kind, strategy = spec.precision.quantization, spec.parallelism.strategy
    if limited and not can_divide(kind, strategy):
        fix = "use nf4, fp4 or none with it, or ddp, zero1 or zero2"
        message, values = f"{strategy} cannot shard {kind} weights", {"strategy": strategy, "weights": kind}
        errors.append(FieldError("precision.quantization", message, fix, "cannot_shard", values))
    if spec.adaptation.method == "lora":
        smallest = largest_rank(spec, architecture, stack)
        if spec.adaptation.r > smallest:
            message, fix = f"is larger than the smallest target layer ({smallest})", f"use at most {smallest}"
            errors.append(FieldError("adaptation.r", message, fix, "rank_too_large", {"most": smallest}))
    if limited and architecture.stored is not None:
        errors += _unlike_stored(spec, architecture.stored)
    if errors:
        raise InvalidInput(say("settings_cannot_be_estimated"), errors=errors)


def _unlike_stored(spec: JobSpec, stored: StoredWeights) -> Iterator[FieldError]:
    """A checkpoint that is quantized is loaded as it is (transformers ``merge_quantization_configs``)."""
    if stored.kind != spec.precision.quantization:
        fix = f"use {stored.kind}, or the unquantized model"
        message, values = f"this checkpoint is stored as {stored.kind}", {"stored": stored.kind}
        yield FieldError("precision.quantization", message, fix, "stored_otherwise", values)
    elif stored.kind in ("nf4", "fp4") and stored.double_quant != spec.precision.double_quant:
        done = "quantized, too" if stored.double_quant else "not quantized"
        fix = f"set it to {str(stored.double_quant).lower()}, or use the unquantized model"
        type = "constants_quantized" if stored.double_quant else "constants_not_quantized"
        yield FieldError("precision.double_quant", f"this checkpoint's constants are {done}", fix, type)


def largest_rank(spec: JobSpec, architecture: Architecture, stack: Stack = DEFAULT) -> int:
    """The smaller side of the smallest matrix that gets an adapter (gates of one output aside)."""
    targets, _ = targets_of(spec, architecture, stack)
    sizes = (
        min(linear.inputs, linear.outputs)
        for layer in architecture.layers
        for linear in layer.linears
        if linear.path in targets and linear.outputs > 1
    )
    return min(sizes, default=architecture.hidden)


def _base_ledger(held: Share, device: Device, stored_as_master: int) -> MemoryLedger:
    masters = min(stored_as_master, held.weights)
    return MemoryLedger(
        {
            "weights": held.weights - masters,
            "master_weights": held.masters + masters,
            "quantization_state": held.quantization_state,
            "adapters": held.adapters,
            "optimizer_states": held.optimizer_states,
            "workspace": 2 * device.cublas_workspace_bytes,
            "communication": held.communication,
        }
    )


def _site_ledger(site: Site, held: Share) -> MemoryLedger:
    numerator, denominator = held.gradient_part
    filled = held.fills_bucket and site.name.startswith("layer_backward")
    gradients = site.gradients * numerator // denominator
    if filled or site.name == "embedding_backward":
        gradients += held.new_gradients
    if held.whole is not None:
        gradients = held.whole.gradients(site, gradients)
    return MemoryLedger(
        {
            "activations": site.activations,
            "logits_and_loss": site.logits,
            "workspace": site.workspace + site.casts + (held.step_temporary if site.name == "optimizer_step" else 0),
            "gradients": gradients,
            "communication": 0 if held.whole is None else held.whole.weights(site),
        }
    )


def _interval(
    spec: JobSpec,
    architecture: Architecture,
    stack: Stack,
    tensors: int,
    fragments: Fragmentation,
    context: tuple[int, int, int],
) -> tuple[int, int]:
    """Tensor terms within 1 %, or as far as the largest known miss, plus the bands of the two uncertain terms."""
    percent = max((doubt.percent for doubt in doubts(spec, architecture, stack)), default=1)
    slack = tensors * percent // 100
    return tensors - slack + fragments.low + context[0], tensors + slack + fragments.high + context[2]


def _assumptions(
    spec: JobSpec, architecture: Architecture, work: Workload, lengths: Lengths | None, stack: Stack, device: Device,
    unmatched: tuple[str, ...], varying: bool, whole_gradients: int,
) -> tuple[Sentence, ...]:  # fmt: skip
    notes = [
        say("library_versions", stack=stack.title),
        say("longest_batch", rows=work.batch, tokens=work.sequence),
        effective_batch_sentence(spec),
    ]
    if lengths is None:
        notes.append(say("lengths_unknown"))
    if varying:
        notes.append(say("lengths_vary"))
    notes += context_notes(device, stack)
    lack = lack_of(spec, device)
    if lack is not None:
        notes.append(say("only_memory", device=device.name, because=lack.sentence))
    if spec.parallelism.strategy != "none":
        notes += _sharding_notes(spec, whole_gradients)
    if spec.optimizer.name.startswith("paged"):
        notes.append(say("paged_not_counted"))
    notes += [say("doubt", why=doubt.sentence, percent=doubt.percent) for doubt in doubts(spec, architecture, stack)]
    if work.sequence < spec.data.max_length and architecture.traits.learned_positions:
        notes.append(say("rows_cut", positions=work.sequence))
    if unmatched:
        notes.append(say("targets_unmatched", names=", ".join(unmatched)))
    return tuple(notes)


def _when_full(fragments: Fragmentation, settled: int | None, tensors_fit: bool) -> Sentence | None:
    if fragments.runs_out and tensors_fit:
        return say("cache_runs_out")
    if fragments.shrinks and tensors_fit:
        return say("cache_shrinks")
    return None if settled is None else say("cache_fills_card", settled_bytes=settled)


def _sharding_notes(spec: JobSpec, whole_gradients: int) -> list[Sentence]:
    notes = [say("fsdp_whole_gradients", whole_bytes=whole_gradients)] if whole_gradients else []
    strategy, offload = spec.parallelism.strategy, spec.parallelism.offload
    if strategy in ("zero3", "fsdp") and spec.precision.quantization != "none":
        notes.append(say("four_bit_sharding"))
    if offload == "all" and not offloads_weights(spec):
        notes.append(say("only_optimizer_moves", strategy=strategy))
    if offload == "optimizer" and offloads_weights(spec):
        notes.append(say("weights_move_too"))
    return notes


def context_notes(device: Device, stack: Stack) -> list[Sentence]:
    """Where the figure of the CUDA context comes from; nothing to say where a worker measured it."""
    if device.context_bytes is not None:
        return []
    if stack.context_bytes is not None:
        return [say("context_of_another_machine", mebibytes=stack.context_bytes // MIB)]
    return [say("context_not_measured")]
