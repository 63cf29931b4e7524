"""Job specs: sensible defaults, and errors that name the field and the remedy."""

import pytest

from tunescope.problems import InvalidInput
from tunescope.spec import dump_spec, load_spec, parse_spec

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
        ({"adaptation": {"method": "full"}}, "spec"),
        ({"parallelism": {"gpus": 2}}, "parallelism"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], loc: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_spec(SMALLEST | change)
    assert loc in {error.loc for error in caught.value.errors}


@pytest.mark.parametrize("text", ["", "- a", "{", "model: [", "42", "\x00"])
def test_text_that_is_no_spec_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput):
        load_spec(text)
