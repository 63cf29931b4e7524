"""Job specs: sensible defaults, and errors that name the field and the remedy."""

import math
from typing import Any

import pytest
import yaml

from tunescope.problems import InvalidInput
from tunescope.spec import LIMITS, JobSpec, dump_spec, load_spec, parse_spec

SMALLEST = {"model": {"id": "a/b"}, "data": {"dataset": "d"}}


def test_model_and_data_set_are_enough() -> None:
    spec = parse_spec(SMALLEST)
    assert (
        spec.adaptation.method == "lora"
        and spec.precision.quantization == "nf4"
        and spec.batch.gradient_accumulation_steps == 16
    )


def test_a_written_spec_reads_back_the_same() -> None:
    spec = parse_spec(SMALLEST)
    assert load_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"adaptation": {"r": 0}}, "adaptation.r"),
        ({"adaptation": {"rank": 8}}, "adaptation.rank"),
        ({"precision": {"quantization": "int3"}}, "precision.quantization"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate"),
        ({"data": {"dataset": "d", "max_length": 10**9}}, "data.max_length"),
        ({"adaptation": {"method": "full"}}, "precision.quantization"),
        ({"parallelism": {"gpus": 2}}, "parallelism.strategy"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], loc: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_spec(SMALLEST | change)
    assert {error.loc: bool(error.message and error.fix) for error in caught.value.errors}[loc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adaptation": {"r": 0}}, "is out of range (give a number from 1 to 4096)"),
        ({"adaptation": {"lora_dropout": 1}}, "is out of range (give a number from 0 to under 1)"),
        ({"optimizer": {"learning_rate": 0}}, "is out of range (give a number over 0 and at most 10)"),
        ({"data": {"dataset": "d", "max_length": 10**9}}, "is out of range (give a number from 8 to 10000000)"),
        ({"schedule": {"max_steps": 0}}, "is out of range (give a number from 1 to 1000000000)"),
        ({"optimizer": {"learning_rate": math.inf}}, "is out of range (give a number over 0 and at most 10)"),
        ({"batch": {"gradient_accumulation_steps": 1.5}}, "is not a whole number (give digits only)"),
        ({"adaptation": {"r": True}}, "is not a whole number (give digits only)"),
        ({"schedule": {"max_steps": False}}, "is not a whole number (give digits only)"),
        ({"optimizer": {"weight_decay": True}}, "is not a number (give a number such as 0.0001 or 1e-4)"),
        ({"data": {}}, "is missing (add it)"),
        ({"batch": 3}, "is not a mapping of fields (write its fields below it, each with its value)"),
        ({"name": "x" * 121}, "has more than 120 characters (shorten it)"),
        ({"precision": {"dtype": "fp8"}}, "is none of the choices (choose one of bfloat16, float16, float32)"),
        ({"adaptation": {"target_modules": 3}}, "(choose one of all-linear, or write its items in [ ], with commas)"),
    ],
)
def test_an_error_says_what_would_be_right(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_spec(SMALLEST | change)
    assert str(caught.value).splitlines()[1].endswith(words)


def test_a_field_that_takes_two_kinds_of_things_has_one_name_for_getting_neither() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_spec(SMALLEST | {"adaptation": {"target_modules": 5}})
    (error,) = caught.value.errors
    assert (error.type, error.values) == ("no_choice_no_list", {"choices": "all-linear"})


def test_every_number_has_a_range_to_tell() -> None:
    """A limit on one side only would be told without the other."""
    numbers = [
        f"{section}.{name}"
        for section, field in JobSpec.model_fields.items()
        for name, inner in getattr(field.annotation, "model_fields", {}).items()
        if inner.annotation in (int, float, int | None)
    ]
    assert len(numbers) > 15 and set(numbers) == set(LIMITS)


TEXT = """model: {id: a/b}
data: {dataset: d}
"""


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "0.0001", "1.0e-4", "+1e-4", ".0001"])
def test_numbers_are_read_as_people_write_them(written: str) -> None:
    assert load_spec(f"{TEXT}optimizer: {{learning_rate: {written}}}").optimizer.learning_rate == 1e-4


def test_plain_words_that_old_yaml_takes_for_something_else_are_text() -> None:
    for name in ("yes", "off", "2026-01-01", "12:30", "1_000", "=", "0x1f"):
        assert load_spec(f"name: {name}\n{TEXT}").name == name
    assert load_spec(f"{TEXT}schedule: {{seed: 010}}").schedule.seed == 10


@pytest.mark.parametrize(
    "name", ["1e9", "yes", "no", "null", "~", "12", "2026-01-01", "0o7", "1_000", "=", ".5", "a: b", "#", "äöü 中文"]
)
def test_names_that_look_like_something_else_read_back_the_same(name: str) -> None:
    spec = parse_spec(SMALLEST | {"name": name})
    assert load_spec(dump_spec(spec)) == spec
    assert yaml.safe_load(dump_spec(spec))["name"] == name


def test_a_field_that_stands_there_twice_is_named_with_both_lines() -> None:
    with pytest.raises(InvalidInput) as caught:
        load_spec(f"{TEXT}adaptation:\n  r: 8\n  r: 16\n")
    (error,) = caught.value.errors
    assert (error.loc, error.values) == ("adaptation.r", {"first": 4, "second": 5})
    with pytest.raises(InvalidInput, match="adaptation: stands there twice, in line 1 and in line 4"):
        load_spec(f"adaptation: {{r: 8}}\n{TEXT}adaptation: {{r: 8}}\n")


@pytest.mark.parametrize(
    "text",
    [
        "model: !!int x",
        "model: !!timestamp x",
        "model: !!bool x",
        "model: !!python/name:os.x a",
        "model: " + "9" * 5000,
        "a: &a [*a]",
        "[" * 5000,
        "",
        "- a",
        "{",
        "model: [",
        "42",
        "\x00",
    ],
)
def test_text_that_is_no_spec_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput):
        load_spec(text)


def test_a_broken_line_is_told_with_the_name_of_its_file() -> None:
    for text in ("model: [", "model: \x00"):
        with pytest.raises(InvalidInput) as caught:
            load_spec(text, "my-run.yaml")
        assert '"my-run.yaml"' in str(caught.value) and "unicode string" not in str(caught.value)
