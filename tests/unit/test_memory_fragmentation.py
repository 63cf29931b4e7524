"""Loss paths, lengths of micro batches, and what the allocator keeps: by hand, and against the allocator's own model."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tunescope.memory import loss_path
from tunescope.memory.catalogue import catalogue
from tunescope.memory.devices import DEVICES, Device
from tunescope.memory.estimate import Estimate, estimate
from tunescope.memory.head_step import loss_path_of
from tunescope.memory.layer_part import LayerPart
from tunescope.memory.lengths import Lengths
from tunescope.memory.native_allocator import NativeAllocator, units
from tunescope.memory.persistent import persistent_tensors
from tunescope.memory.requests import Recorded, drop_all, take_all
from tunescope.memory.stack import STACKS
from tunescope.memory.step_sequence import Head, StepSequence, Update
from tunescope.memory.step_settings import layer_settings
from tunescope.memory.workload import Workload
from tunescope.spec import JobSpec, parse_spec
from tunescope.units import MIB

QWEN = "Qwen/Qwen-7B-Chat"


def test_the_copies_of_the_logits_follow_each_version() -> None:
    """Peaks counted by hand in the sources; verified to 0.01 % on published Mistral and Granite runs."""
    assert loss_path.AUTOCAST_SHIFTED_FLOAT.several_rows.forward == 14
    assert loss_path.SHIFTED_REBOUND.several_rows.forward == 12
    assert loss_path.AUTOCAST_ON_LABELS.one_row == loss_path.AUTOCAST_ON_LABELS.several_rows
    assert loss_path.SHIFTED_THEN_FLOAT.one_row.forward == loss_path.SHIFTED_THEN_FLOAT.several_rows.forward - 2


def test_shifted_copies_lack_a_token_of_each_row() -> None:
    """Sizes that differ by a row's last token do not find each other's blocks: transformers 4.48 cuts after it makes fp32."""
    assert loss_path.AUTOCAST_SHIFTED_FLOAT.words(4)[:4] == ["logits+2", "float+4", "shift'+4", "logprob'+4"]
    assert loss_path.AUTOCAST_SHIFTED_FLOAT.words(1)[:3] == ["logits+2", "float+4", "logprob'+4"], "of one row a view"


SPECS = st.builds(
    lambda method, quantization, attention, checkpointing, accumulation, batch, dropout: parse_spec(
        {
            "model": {"id": "m"}, "data": {"dataset": "d", "max_length": 512},
            "adaptation": {"method": method, "lora_dropout": dropout},
            "precision": {"quantization": "none" if method == "full" else quantization},
            "batch": {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation},
            "memory_savers": {"attention": attention, "gradient_checkpointing": checkpointing},
        }
    ),
    st.sampled_from(["lora", "full"]), st.sampled_from(["none", "nf4", "int8"]), st.sampled_from(["sdpa", "eager", "flash_attention_2"]),
    st.booleans(), st.sampled_from([1, 4]), st.sampled_from([1, 3]), st.sampled_from([0.0, 0.05]),
)  # fmt: skip
SHAPES = (
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen-1_8B",
    "microsoft/phi-2",
    "bigcode/gpt_bigcode-santacoder",
    "Qwen/Qwen3-30B-A3B",
)


@settings(max_examples=60, deadline=None)
@given(SPECS, st.sampled_from(SHAPES), st.sampled_from(sorted(STACKS)))
def test_a_replayed_step_lets_go_of_all_it_takes_but_the_optimizers_states(
    spec: JobSpec, name: str, stack: str
) -> None:
    architecture, versions = catalogue(name), STACKS[stack]
    persistent = persistent_tensors(spec, architecture, versions)
    step = layer_settings(
        spec, architecture, Workload(spec.batch.per_device_train_batch_size, 512), versions, persistent
    )
    full = spec.adaptation.method == "full"
    head = Head(
        loss_path_of(spec, architecture, versions), architecture.vocab, step.batch, trains=full, tied=architecture.tied
    )
    update = Update((1.0, 1.0), 1) if full else Update(keeps_gradients=False)
    sequence, begun = StepSequence(architecture, step, head, update), Recorded()
    gradients = sequence.first_micro_batch(begun)
    first = 1 + max(uid for uid, _ in begun.changes)
    live: set[int] = set()
    for uid, size in sequence.changes():
        if uid > 0:
            assert size > 0
            live.add(uid)
        else:
            assert -uid in live, "nothing is freed twice"
            live.remove(-uid)
    assert live == set(range(first, first + len(update.states) * len(gradients))), "those are made after it"


@pytest.mark.parametrize("adds", [False, True], ids=["leave gradients", "add to them"])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_layers_run_as_one_reserve_what_they_do_one_by_one(checkpointing: bool, adds: bool) -> None:
    architecture, stack = catalogue("Qwen/Qwen2.5-0.5B-Instruct"), STACKS["current"]
    savers = {"gradient_checkpointing": checkpointing}
    spec = parse_spec({"model": {"id": "m"}, "data": {"dataset": "d"}, "adaptation": {"method": "full"}, "precision": {"quantization": "none"},
                       "memory_savers": savers})  # fmt: skip
    step = layer_settings(spec, architecture, Workload(1, 1500), stack, persistent_tensors(spec, architecture, stack))
    head = Head(loss_path_of(spec, architecture, stack), architecture.vocab, 1)
    sequence = StepSequence(architecture, step, head, Update((1.0, 1.0), 1))
    detailed, coarse = sequence.layers_part("all", 1, adds), sequence.layers_part("left", 1, adds)

    def reserved(parts: list[LayerPart]) -> tuple[int, int, int]:
        memory = NativeAllocator()
        (stream,) = take_all(memory, [units(step.stream * step.tokens * architecture.hidden)])
        passes: list[tuple[LayerPart, list[int]]] = []
        for part in [*parts, detailed]:
            passes.append((part, part.forward(memory, stream)))
            stream = passes[-1][1][part.new_stream]
        (gradient,) = take_all(memory, [units(step.stream * step.tokens * architecture.hidden)])
        drop_all(memory, [stream])
        for part, held in reversed(passes):
            part.backward(memory, held, gradient)
            gradient = held[part.new_gradient]
        return memory.reserved, memory.active, memory.active_peak

    one, all_at_once = reserved([coarse] * 6), reserved([sequence.layers_part("left", 6, adds)])
    assert one == all_at_once and one[0] > 0


def test_lengths_of_micro_batches() -> None:
    rows = Lengths(median=500, p95=1500, longest=4000)
    assert rows.spread(4000, 1, dropped=False) == pytest.approx(8.0, rel=0.01)
    assert rows.spread(400, 1, dropped=False) == 1.0, "most rows are cut to the same length"
    assert rows.spread(400, 1, dropped=True) > 1.05, "those left still differ"
    assert rows.spread(4000, 8, dropped=False) < rows.spread(4000, 1, dropped=False)
    assert Lengths(1, 1, 1).spread(8, 1, True) == 1.0


def predicted(stack: str, lengths: Lengths | None = None, device: str = "A100-80GB", **sections: Any) -> Estimate:
    values = {
        "model": {"id": QWEN},
        "adaptation": {"r": 8, "target_modules": ["c_attn"]},
        "precision": {"quantization": "none"},
        "data": {"dataset": "d", "max_length": 2048},
        **sections,
    }
    return estimate(parse_spec(values), catalogue(QWEN), DEVICES[device], lengths, STACKS[stack])


def test_varying_lengths_cost_cache_and_packing_does_not() -> None:
    rows = Lengths(700, 1800, 2048)
    fixed, varying = predicted("current"), predicted("current", rows)
    assert varying.allocated_bytes == fixed.allocated_bytes
    assert varying.ledger["fragmentation"] > 2 * fixed.ledger["fragmentation"]
    packed = {"dataset": "d", "max_length": 2048, "packing": True}
    assert predicted("current", rows, data=packed).ledger == predicted("current", data=packed).ledger


def test_the_cache_of_varying_lengths_ends_at_the_card() -> None:
    rows, long = Lengths(2541, 7970, 19548), {"dataset": "d", "max_length": 8192}
    roomy = predicted("swift-2024", rows, "H200-141GB", data=long)
    tight = predicted("swift-2024", rows, "A6000-48GB", data=long)
    assert tight.total_bytes <= DEVICES["A6000-48GB"].total_bytes < roomy.total_bytes
    assert tight.allocated_bytes == pytest.approx(roomy.allocated_bytes, rel=0.01)


def resized(spec: JobSpec, length: int, rows: int) -> JobSpec:
    data = spec.data.model_copy(update={"max_length": length})
    batch = spec.batch.model_copy(update={"per_device_train_batch_size": rows})
    return spec.model_copy(update={"data": data, "batch": batch})


@settings(max_examples=40, deadline=None)
@given(SPECS, st.sampled_from(SHAPES[:-1]), st.integers(8, 9000), st.sampled_from([1, 128]), st.integers(1, 24))
def test_tensors_of_more_tokens_never_need_less(spec: JobSpec, name: str, length: int, more: int, rows: int) -> None:
    """One token, a few or a row more. What lies cached between tensors is luck: 2048 tokens fill whole pages, 2047 do not."""

    def allocated(length: int, rows: int) -> int:
        return estimate(resized(spec, length, rows), catalogue(name)).allocated_bytes

    assert allocated(length, rows) <= min(allocated(length + more, rows), allocated(length, rows + 1))


@settings(max_examples=40, deadline=None)
@given(SPECS, st.sampled_from(SHAPES[:-1]), st.integers(8, 9000), st.integers(1, 24), st.integers(2, 90))
def test_on_a_card_that_is_too_small_more_tokens_never_fit_better(
    spec: JobSpec, name: str, length: int, rows: int, gigabytes: int
) -> None:
    assume(spec.adaptation.method == "lora")
    card, architecture = Device("a card", gigabytes * 10**9), catalogue(name)
    less, more = (estimate(resized(spec, length, number), architecture, card) for number in (rows, rows + 1))
    assert less.allocated_bytes <= more.allocated_bytes
    assert less.fits or not more.fits
    assert less.fit != "no" or more.fit == "no"
    for found in (less, more):
        assert found.interval[0] <= found.total_bytes <= max(card.total_bytes, found.interval[1])


def mistral_in_full(device: Device) -> Estimate:
    """fms-acceleration's Mistral-7B with 8 rows of 4096 tokens."""
    spec = parse_spec(
        {
            "model": {"id": "m"}, "adaptation": {"method": "full"}, "precision": {"quantization": "none"},
            "data": {"dataset": "d", "max_length": 4096},
            "batch": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}, "memory_savers": {"attention": "flash_attention_2"},
        }
    )  # fmt: skip
    return estimate(spec, catalogue("mistralai/Mistral-7B-v0.1"), device, stack=STACKS["transformers-4.48"])


def test_a_card_that_the_cache_fills_tells_what_stays_once_blocks_went_back() -> None:
    """On an 80 GB card nvidia-smi, read once a second, showed 72,988 MiB of that run: the card is full for a moment only."""
    card, roomy = mistral_in_full(DEVICES["A100-80GB"]), mistral_in_full(DEVICES["H200-141GB"])
    assert card.total_bytes == DEVICES["A100-80GB"].total_bytes < roomy.total_bytes
    assert card.fits and card.fit == "tight"
    assert card.settled_bytes is not None and card.settled_bytes / MIB == pytest.approx(72_988, rel=0.03)
    assert card.when_full is not None and card.when_full.kind == "cache_fills_card"
    assert roomy.settled_bytes is None and roomy.when_full is None


def test_a_card_that_the_cache_fills_for_good_does_not_fit_though_the_tensors_do() -> None:
    roomy = mistral_in_full(Device("a card with room", 1 << 50))
    tensors = roomy.total_bytes - roomy.ledger["fragmentation"]
    tight = mistral_in_full(Device("a card", tensors + MIB))
    assert tight.when_full is not None and tight.when_full.kind == "cache_runs_out"
    assert not tight.fits and tight.fit == "no" and tight.settled_bytes is None
    assert tight.total_bytes == roomy.total_bytes
    assert tight.interval[0] <= tight.total_bytes <= tight.interval[1]


EXPANDABLE = {"expandable_segments": True}


def test_segments_that_expand_do_not_care_how_lengths_vary() -> None:
    rows = Lengths(700, 1800, 2048)
    fixed, varying = (
        predicted("current", memory_savers=EXPANDABLE),
        predicted("current", rows, memory_savers=EXPANDABLE),
    )
    assert varying.ledger == fixed.ledger
    native = predicted("current", rows)
    assert varying.allocated_bytes == native.allocated_bytes, "the tensors are the same"
    assert varying.ledger["fragmentation"] < native.ledger["fragmentation"] / 2


def test_segments_that_expand_run_on_cards_that_the_cache_fills() -> None:
    """Traces of such steps run with 0.3 to 3 % beside their tensors."""

    def in_full(device: Device, expandable: bool) -> Estimate:
        spec = parse_spec(
            {
                "model": {"id": "m"}, "adaptation": {"method": "full"}, "precision": {"quantization": "none"},
                "data": {"dataset": "d", "max_length": 2048}, "batch": {"per_device_train_batch_size": 4},
                "memory_savers": {"expandable_segments": expandable},
            }
        )  # fmt: skip
        return estimate(spec, catalogue("Qwen/Qwen2.5-1.5B-Instruct"), device)

    roomy = in_full(Device("a card with room", 1 << 50), False)
    tensors = roomy.total_bytes - roomy.ledger["fragmentation"]
    card = Device("a card", int(1.04 * tensors))
    assert in_full(card, False).fit == "no"
    expanding = in_full(card, True)
    assert expanding.fit == "tight" and expanding.total_bytes == card.total_bytes
    assert expanding.when_full is not None and expanding.when_full.kind == "cache_shrinks"
    assert in_full(Device("a card", int(0.93 * tensors)), True).fit == "no"


def test_a_card_too_small_for_the_tensors_is_told_no_better_than_one_that_the_cache_fills() -> None:
    roomy = mistral_in_full(Device("a card with room", 1 << 50))
    tensors = roomy.total_bytes - roomy.ledger["fragmentation"]
    too_small = mistral_in_full(Device("a card", tensors - MIB))
    assert too_small.fit == "no" and too_small.when_full is None
    assert too_small.total_bytes == roomy.total_bytes


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_where_lengths_vary_no_single_length_is_lucky(attention: str) -> None:
    """Of many lengths a token more in the longest is worth a token's bytes; the tables of varying lengths tell the luck."""
    for length in (511, 512, 2047, 2048, 3000, 8191):
        sizes = [
            estimate(
                parse_spec(
                    {
                        "model": {"id": "m"}, "data": {"dataset": "d", "max_length": tokens},
                        "precision": {"quantization": "none"}, "memory_savers": {"attention": attention},
                    }
                ),
                catalogue("Qwen/Qwen2.5-0.5B-Instruct"),
                Device("a card with room", 1 << 50),
                Lengths(tokens // 2, tokens * 3 // 4, tokens),
            ).total_bytes
            for tokens in (length, length + 1)
        ]  # fmt: skip
        assert sizes[1] / sizes[0] - 1 < 2.5 / length


def test_only_small_tensors_leave_blocks_that_nothing_larger_can_use() -> None:
    """Adapters of 4096 to 11008 numbers a rank, in fp32: under 1 MiB at rank 16, more at 128. Fused AdamW makes no list of temporaries."""

    def cached(rank: int, optimizer: str) -> int:
        spec = parse_spec(
            {
                "model": {"id": QWEN}, "data": {"dataset": "d", "max_length": 2048}, "precision": {"quantization": "none"},
                "adaptation": {"method": "lora", "r": rank, "target_modules": ["c_proj"]}, "optimizer": {"name": optimizer},
                "batch": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1},
            }
        )  # fmt: skip
        found = estimate(spec, catalogue(QWEN), Device("a card with room", 1 << 50))
        assert found.site == "loss_backward"
        return found.ledger["fragmentation"]

    list_of_rank_16 = 32 * 16 * 4 * (3 * 4096 + 11008)
    assert cached(16, "adamw_torch") - cached(16, "adamw_torch_fused") == list_of_rank_16
    assert cached(128, "adamw_torch") == cached(128, "adamw_torch_fused")
