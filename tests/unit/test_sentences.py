"""Sentences: English for people, kind and values for programs."""

from tunescope.events import WarningEvent, job_event
from tunescope.sentences import Sentence, say
from tunescope.sentences.templates import TEMPLATES
from tunescope.units import GIB
from tunescope.wire import NO_GPU_DRIVER


def test_bytes_are_integers_for_programs_and_rounded_for_people() -> None:
    sentence = say("no_gpu_large_enough", need_bytes=60 * GIB, largest_bytes=24 * GIB)
    assert sentence.values == {"need_bytes": 60 * GIB, "largest_bytes": 24 * GIB}
    assert "about 60.0 GiB on a GPU; the largest connected one has 24.0 GiB" in sentence.text


def test_a_sentence_may_hold_others_and_what_somebody_else_said() -> None:
    lost = say("gpu_fault", machine="m", index=3, because=say("gpu_off_the_bus"))
    told = say("machine_fault", machine="n", because="said by an older worker")
    whole = say("gpus_cannot_be_used", faults=[lost, told])
    assert whole.text == (
        "The GPUs cannot be used. m, GPU 3: the GPU has fallen off the bus; the machine must be restarted; "
        "n: said by an older worker."
    )
    assert Sentence.model_validate_json(whole.model_dump_json()) == whole


def test_a_kind_of_a_newer_release_is_read_with_its_text() -> None:
    read = Sentence.model_validate({"kind": "not_known_here", "text": "Something new.", "values": {}, "more": 1})
    assert read.text == "Something new."


def test_values_of_types_that_a_newer_release_brings_are_left_out_and_the_text_stays() -> None:
    told = {
        "kind": "machine_fault",
        "text": "m: lost",
        "values": {
            "machine": "m",
            "because": {"kind": "new", "text": "lost", "values": {"deep": None, "step": 3}},
            "nothing": None,
            "truth": True,
            "names": ["a", "b"],
            "table": {"a": 1},
            "faults": [{"kind": "new", "text": "one"}, {"kind": "new", "text": "two", "values": "none"}],
        },
    }
    read = Sentence.model_validate(told)
    assert read.text == "m: lost"
    assert read.values == {
        "machine": "m",
        "because": Sentence(kind="new", text="lost", values={"step": 3}),
        "faults": [Sentence(kind="new", text="one"), Sentence(kind="new", text="two")],
    }


def test_an_event_of_a_newer_worker_is_not_lost_for_the_values_of_a_sentence() -> None:
    sentence = {"kind": "rising", "text": "Memory rises.", "values": {"since": None, "steps": [1, 2]}}
    event = {"kind": "warning", "job": "j", "attempt": 1, "sequence": 1, "at": 0.0, "code": "rising", "step": 3}
    read = job_event.validate_python(event | {"message": "Memory rises.", "message_sentence": sentence})
    assert isinstance(read, WarningEvent) and read.message_sentence == Sentence(kind="rising", text="Memory rises.")


def test_a_machine_without_a_driver_is_known_by_how_its_reason_begins() -> None:
    assert TEMPLATES["no_driver"].startswith(NO_GPU_DRIVER)
