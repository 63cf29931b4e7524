"""Estimates: against published torch peaks, against arithmetic done by hand, and never silent about bad input."""

import time
from typing import Any

import pytest

from tunescope.memory.architecture import architecture_from_config
from tunescope.memory.catalogue import catalogue, entries
from tunescope.memory.devices import DEVICES, device_named
from tunescope.memory.estimate import estimate
from tunescope.memory.ledger import CATEGORIES, MemoryLedger
from tunescope.memory.lengths import Lengths
from tunescope.memory.stack import STACKS
from tunescope.problems import InvalidInput
from tunescope.spec import JobSpec, parse_spec

MISTRAL = "mistralai/Mistral-7B-v0.1"


def make_spec(**sections: Any) -> JobSpec:
    sections.setdefault("data", {"dataset": "d", "max_length": 2048})
    return parse_spec({"model": {"id": MISTRAL}, **sections})


def fms_spec(batch: int, method: str = "lora", quantization: str = "none") -> JobSpec:
    return make_spec(
        adaptation={
            "method": method,
            "r": 16,
            "lora_dropout": 0.1,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
        },
        precision={"quantization": quantization},
        batch={"per_device_train_batch_size": batch, "gradient_accumulation_steps": 1},
        data={"dataset": "d", "max_length": 4096},
        memory_savers={"attention": "flash_attention_2"},
    )


def test_padded_rows_cost_a_mask_in_every_layer_and_k_and_v_as_wide_as_q() -> None:
    """Llama 3.2 3B, 28 layers: q has 3072 numbers a token, k and v 1024 each, all of 2 bytes; a row's mask is square."""
    four, one = (
        estimate(
            make_spec(
                precision={"quantization": "none"},
                batch={"per_device_train_batch_size": rows, "gradient_accumulation_steps": 1},
                data={"dataset": "d", "max_length": 2048 // rows},
                memory_savers={"gradient_checkpointing": False},
            ),
            catalogue("meta-llama/Llama-3.2-3B"),
        )
        for rows in (4, 1)
    )
    repeated, masks, tables = 28 * 2 * 2 * (3072 - 1024) * 2048, 28 * 2 * 512 * 2048, 2 * 2 * 128 * (2048 - 512)
    assert four.site == one.site == "loss_backward"
    assert four.allocated_bytes - one.allocated_bytes == repeated + masks - tables


@pytest.mark.parametrize(
    ("spec", "stack", "measured"),
    [
        (fms_spec(4), "transformers-4.48-no-autocast", 26_704_571_904),
        (fms_spec(8), "transformers-4.48-no-autocast", 38_742_912_512),
        (fms_spec(4, quantization="nf4"), "transformers-4.48", 16_373_838_336),
        (fms_spec(8, quantization="nf4"), "transformers-4.48", 28_412_178_944),
        (fms_spec(4, quantization="nf4"), "transformers-4.48-norms-fp32", 20_669_338_112),
        (fms_spec(8, quantization="nf4"), "transformers-4.48-norms-fp32", 37_002_646_016),
        (fms_spec(4, "full"), "transformers-4.48", 72_434_837_504),
        (fms_spec(8, "full"), "transformers-4.48", 72_435_230_720),
    ],
)
def test_published_torch_peaks_of_mistral_are_met_within_a_tenth_of_a_percent(
    spec: JobSpec, stack: str, measured: int
) -> None:
    found = estimate(spec, catalogue(MISTRAL), DEVICES["A100-80GB"], None, STACKS[stack])
    assert found.allocated_bytes == pytest.approx(measured, rel=0.001)


@pytest.mark.parametrize(
    ("method", "quantization", "batch", "measured"),
    [
        ("full", "none", 4, 11_267_745_280), ("full", "none", 8, 15_193_274_880),
        ("lora", "nf4", 4, 9_147_162_112), ("lora", "nf4", 8, 17_486_716_416),
    ],
)  # fmt: skip
def test_published_torch_peaks_of_santacoder_are_met_within_one_percent(
    method: str, quantization: str, batch: int, measured: int
) -> None:
    """GPT-BigCode in transformers 4: 16-bit cross-entropy, a cache despite checkpointing, and an fp32 stream through 4-bit layers."""
    spec = make_spec(
        adaptation={"method": method, "r": 16, "lora_dropout": 0.1, "target_modules": ["c_attn"]},
        precision={"quantization": quantization}, batch={"per_device_train_batch_size": batch, "gradient_accumulation_steps": 1},
        data={"dataset": "d", "max_length": 4096}, memory_savers={"attention": "flash_attention_2"},
    )  # fmt: skip
    found = estimate(
        spec, catalogue("bigcode/gpt_bigcode-santacoder"), DEVICES["A100-80GB"], None, STACKS["transformers-4.48"]
    )
    assert found.allocated_bytes == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize(
    ("spec", "stack", "mib"),
    [
        (fms_spec(4), "transformers-4.48-no-autocast", 29_576),
        (fms_spec(8), "transformers-4.48-no-autocast", 43_232),
        (fms_spec(4, quantization="nf4"), "transformers-4.48", 19_912),
        (fms_spec(8, quantization="nf4"), "transformers-4.48", 34_016),
        (fms_spec(4, quantization="nf4"), "transformers-4.48-norms-fp32", 26_056),
        (fms_spec(8, quantization="nf4"), "transformers-4.48-norms-fp32", 46_050),
        (fms_spec(4, "full"), "transformers-4.48", 77_256),
    ],
)
def test_what_nvidia_smi_showed_of_mistral_is_met_within_five_percent(spec: JobSpec, stack: str, mib: int) -> None:
    found = estimate(spec, catalogue(MISTRAL), DEVICES["A100-80GB"], None, STACKS[stack])
    assert found.total_bytes == pytest.approx(mib * 2**20, rel=0.05)


def test_a_ledger_has_twelve_categories_that_sum_to_the_total() -> None:
    answer = estimate(make_spec(), catalogue(MISTRAL)).to_dict()
    assert tuple(answer["ledger"]) == CATEGORIES
    assert sum(answer["ledger"].values()) == answer["total_bytes"]
    assert min(answer["ledger"].values()) >= 0
    low, high = answer["interval"]
    assert low <= answer["total_bytes"] <= high
    assert answer["sites"][0] == {"name": answer["site"], "total_bytes": answer["total_bytes"]}


def test_ledgers_add_and_subtract_exactly() -> None:
    one, two = MemoryLedger({"weights": 5, "gradients": 7}), MemoryLedger({"weights": 1, "adapters": 2})
    assert (one + two - two) == one
    assert (two - one)["gradients"] == -7
    assert (one + two).total_bytes == 15


def test_persistent_terms_follow_hand_arithmetic() -> None:
    """One layer, hidden 64: every number below is counted by hand with 512-byte rounding."""
    config = {
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 128, "vocab_size": 1024, "tie_word_embeddings": True,
    }  # fmt: skip
    spec = make_spec(
        adaptation={"r": 8, "target_modules": ["q_proj"]}, precision={"quantization": "nf4", "double_quant": True}
    )
    ledger = estimate(spec, architecture_from_config(config)).ledger
    packed = 2 * (64 * 64 // 2) + 2 * (64 * 32 // 2) + 3 * (64 * 128 // 2)
    norms, table = 3 * 512, 1024 * 64 * 2
    assert ledger["weights"] == packed + norms + table
    # absmax (uint8), nested absmax, 256-entry code, offset, 16-entry code: seven matrices, 512 bytes each but the 1 KiB code.
    assert ledger["quantization_state"] == 7 * (512 + 512 + 1024 + 512 + 512)
    assert ledger["adapters"] == 2 * 8 * 64 * 4
    assert ledger["optimizer_states"] == 2 * ledger["adapters"]


@pytest.mark.parametrize("name", sorted(entries()))
def test_every_catalogue_model_has_its_published_parameter_count(name: str) -> None:
    expected = entries()[name]["parameters"]
    if expected:
        assert catalogue(name).parameter_count == expected
    everywhere = make_spec(adaptation={"lora_dropout": 0.0}, memory_savers={"attention": "eager"})
    assert estimate(everywhere, catalogue(name)).total_bytes > 0


def at(base: JobSpec, **patch: Any) -> int:
    values = base.model_dump(mode="json")
    for section, fields in patch.items():
        values[section] |= fields
    return estimate(parse_spec(values), catalogue(MISTRAL)).total_bytes


def test_settings_move_memory_the_way_they_should() -> None:
    base = make_spec(precision={"quantization": "none"})
    here = at(base)
    assert at(base, precision={"quantization": "nf4"}) < at(base, precision={"quantization": "int8"}) < here
    assert at(base, precision={"quantization": "nf4"}) < at(
        base, precision={"quantization": "nf4", "double_quant": False}
    )
    assert at(base, memory_savers={"gradient_checkpointing": False}) > here
    assert at(base, memory_savers={"gradient_checkpointing": False, "attention": "eager"}) > at(
        base, memory_savers={"gradient_checkpointing": False}
    )
    # Where the logits decide the peak: without checkpointing, at the end of forward.
    plain = {"gradient_checkpointing": False}
    assert at(base, memory_savers={**plain, "fused_loss": True}) < at(base, memory_savers=plain)
    assert at(base, data={"max_length": 4096}) > here
    assert at(base, batch={"per_device_train_batch_size": 2}) > here
    assert at(base, adaptation={"r": 64}) > here
    assert at(base, adaptation={"modules_to_save": ["embed_tokens", "lm_head"]}) > here
    full = at(base, adaptation={"method": "full"})
    assert full > here
    assert at(base, adaptation={"method": "full"}, precision={"master_weights": True}) > full
    by_optimizer = {
        name: at(base, adaptation={"method": "full"}, optimizer={"name": name})
        for name in ("adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd")
    }
    assert (
        by_optimizer["adamw_torch"]
        > by_optimizer["adamw_torch_fused"]
        > by_optimizer["adamw_8bit"]
        > by_optimizer["paged_adamw_8bit"]
    )
    assert by_optimizer["sgd"] < by_optimizer["adamw_8bit"]


def test_more_sharding_needs_less_of_each_gpu() -> None:
    full = make_spec(
        adaptation={"method": "full"},
        precision={"quantization": "none", "master_weights": True},
        parallelism={"gpus": 8, "strategy": "zero1"},
    )
    sizes = [at(full, parallelism={"gpus": 8, "strategy": name}) for name in ("zero1", "zero2", "zero3")]
    assert sizes == sorted(sizes, reverse=True)
    assert at(full, parallelism={"gpus": 8, "strategy": "zero3", "offload": "optimizer"}) < sizes[2]


def test_what_cannot_be_moved_or_divided_is_refused_or_said() -> None:
    with pytest.raises(InvalidInput) as refused:
        make_spec(parallelism={"gpus": 2, "strategy": "ddp", "offload": "optimizer"})
    assert [error.loc for error in refused.value.errors] == ["parallelism.offload"]
    for strategy in ("zero3", "fsdp"):
        with pytest.raises(InvalidInput) as refused:
            estimate(
                make_spec(precision={"quantization": "int8"}, parallelism={"gpus": 2, "strategy": strategy}),
                catalogue(MISTRAL),
            )
        assert [error.loc for error in refused.value.errors] == ["precision.quantization"]

    def notes(strategy: str, offload: str) -> str:
        spec = make_spec(parallelism={"gpus": 2, "strategy": strategy, "offload": offload})
        return "; ".join(estimate(spec, catalogue(MISTRAL)).assumptions)

    assert "bnb_4bit_quant_storage" in notes("zero3", "none") and "bnb_4bit_quant_storage" not in notes("zero2", "none")
    assert "zero2 moves only the optimizer" in notes("zero2", "all")
    assert "together with the optimizer" in notes("fsdp", "optimizer")


@pytest.mark.parametrize("strategy", ["zero3", "fsdp"])
def test_constants_of_four_bit_weights_stay_whole_on_every_gpu(strategy: str) -> None:
    def constants(**parallelism: Any) -> int:
        return estimate(make_spec(parallelism=parallelism), catalogue(MISTRAL)).ledger["quantization_state"]

    assert (
        constants(gpus=8, strategy=strategy) == constants(gpus=8, strategy=strategy, offload="all") == constants() > 0
    )


def test_fsdp_keeps_adapters_in_fp32_but_for_models_in_four_bit() -> None:
    def adapters(quantization: str, strategy: str) -> int:
        precision = {"quantization": quantization, "adapter_dtype": "bfloat16"}
        spec = make_spec(precision=precision, parallelism={"gpus": 2, "strategy": strategy})
        return estimate(spec, catalogue(MISTRAL)).ledger["adapters"]

    assert adapters("none", "fsdp") == adapters("none", "ddp")
    assert 2 * adapters("nf4", "fsdp") == adapters("nf4", "ddp")


def test_short_rows_need_less_than_max_length_and_accumulation_is_nearly_free() -> None:
    spec = make_spec()
    short = estimate(spec, catalogue(MISTRAL), lengths=Lengths(100, 200, 300))
    assert short.total_bytes < estimate(spec, catalogue(MISTRAL)).total_bytes
    once, often = (
        at(spec, batch={"gradient_accumulation_steps": 1}),
        at(spec, batch={"gradient_accumulation_steps": 64}),
    )
    assert 0 <= often - once < 0.02 * once


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "config.model_type"),
        ({"model_type": "mamba"}, "config.model_type"),
        ({"model_type": "llama", "hidden_size": 64}, "config.vocab_size"),
        ({"model_type": "llama", "hidden_size": -1}, "config.hidden_size"),
        ({"model_type": "llama", "hidden_size": "64"}, "config.hidden_size"),
        ({"model_type": "llama", "hidden_size": 10**12}, "config.hidden_size"),
        ({"model_type": "llama", "num_attention_heads": 7, "num_key_value_heads": 3}, "config.num_key_value_heads"),
    ],
)
def test_a_bad_config_is_refused_by_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        architecture_from_config(config)
    assert field in {error.loc for error in caught.value.errors}


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"adaptation": {"r": 4096}}, "adaptation.r"),
        ({"adaptation": {"target_modules": ["no_such"]}}, "adaptation.target_modules"),
        ({"adaptation": {"modules_to_save": ["no_such"]}}, "adaptation.modules_to_save"),
        (
            {"data": {"dataset": "d", "max_length": 10_000_000}, "batch": {"per_device_train_batch_size": 100}},
            "data.max_length",
        ),
    ],
)
def test_impossible_settings_are_refused_by_field(sections: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        estimate(make_spec(**sections), catalogue(MISTRAL))
    assert [error.loc for error in caught.value.errors] == [field]


def test_gpus_are_found_by_catalogue_name_and_by_nvml_name() -> None:
    assert device_named("NVIDIA H100 80GB HBM3").name == "H100-80GB"
    assert device_named("NVIDIA A100-SXM4-40GB").name == "A100-40GB"
    assert device_named("a100-80gb").name == "A100-80GB"
    assert device_named("NVIDIA L40S").name == "L40S-48GB"
    with pytest.raises(InvalidInput):
        device_named("Voodoo 2")


def test_an_estimate_takes_well_under_five_milliseconds() -> None:
    spec, model = make_spec(), catalogue("Qwen/Qwen2.5-72B-Instruct")
    estimate(spec, model)
    started = time.process_time()
    for _ in range(100):
        estimate(spec, model)
    assert (time.process_time() - started) / 100 < 0.005
