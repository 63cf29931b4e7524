"""What a worker and the controller tell in English sentences is known to the Chinese page: a changed sentence fails here."""

import errno
import json
import re
import signal
from collections.abc import Iterator

import torch

from tests.support.running import ROOT
from tunescope.events import Failure, FailureMemory
from tunescope.units import GIB
from worker.death import explain_death
from worker.trainer.failure import explain, stopped_in_time
from worker.trainer.watch import Finding, StepFacts, Watch

TOLD: dict[str, str] = json.loads((ROOT / "frontend/src/i18n/zh-CN/told.json").read_text())
HOLE = re.compile(r"\{\{(\w+)\}\}")
DRAWN = "Held "
"""How the lines begin that the page draws as a ledger instead."""


def pattern(sentence: str) -> re.Pattern[str]:
    parts = HOLE.split(sentence)
    return re.compile("".join(".+" if index % 2 else re.escape(part) for index, part in enumerate(parts)))


PATTERNS = [pattern(sentence) for sentence in TOLD]


def untold(text: str) -> list[str]:
    """Lines of a text that no pattern fits."""
    lines = [line for line in text.splitlines() if line and not line.startswith(DRAWN)]
    return [line for line in lines if not any(each.fullmatch(line) for each in PATTERNS)]


def climbs() -> Iterator[Finding]:
    """A finding of each kind."""
    step = StepFacts(step=1, longest_tokens=500, retries=0, allocated_peak=10 * GIB, reserved=11 * GIB, others=GIB)
    facts = {
        "length": [StepFacts(step=number, longest_tokens=9000 if number == 6 else 500) for number in range(1, 7)],
        "retries": [step, StepFacts(step=2, retries=1)],
        "more retries": [step, StepFacts(step=2, retries=3)],
        "holes": [
            StepFacts(step=number, allocated_peak=10 * GIB, reserved=(11 + number) * GIB) for number in range(1, 7)
        ],
        "others": [step, StepFacts(step=2, others=9 * GIB)],
        "others and room": [
            step, StepFacts(step=2, others=9 * GIB, device_used=20 * GIB, device_total=24 * GIB),
        ],
        "rising": [
            StepFacts(step=number, used=number * GIB, device_used=number * GIB, device_total=40 * GIB)
            for number in range(1, 20)
        ],
        "full": [StepFacts(step=1, device_used=24 * GIB - 1, device_total=24 * GIB)],
    }  # fmt: skip
    for steps in facts.values():
        watch = Watch()
        for each in steps:
            yield from watch.step(each)


def test_climbs() -> None:
    found = list(climbs())
    codes = {"length_outlier", "fragmentation", "allocator_retry", "rising", "other_process", "nearly_full"}
    assert {item.code for item in found} == codes
    assert [line for item in found for line in untold(item.message)] == []


def failures() -> Iterator[Failure]:
    within = FailureMemory(device="NVIDIA H100", step=3, phase="backward", categories={"weights": GIB})
    after = FailureMemory(device="NVIDIA H100", step=3, categories={"weights": GIB}, categories_of_step=2)
    for memory in (None, within, after):
        yield explain(torch.OutOfMemoryError("CUDA out of memory."), "training", memory)
        yield explain(RuntimeError("CUDA error: uncorrectable ECC error encountered"), "training", memory)
    yield explain(OSError(errno.ENOSPC, "full"), "saving")
    yield stopped_in_time(next(climbs()).message, within)
    for status, kills in ((-signal.SIGKILL, 1), (-signal.SIGKILL, 0), (-signal.SIGSEGV, 0), (1, 0)):
        yield explain_death(status, 0, kills, [], within)


def test_failures_for_lack_of_memory_and_sudden_deaths() -> None:
    for failure in failures():
        assert untold(failure.detail) == [] and untold(failure.advice) == []


def test_a_finding_within_a_failure_is_known_as_well() -> None:
    detail = stopped_in_time("{because}", FailureMemory(device="CPU", step=1)).detail
    assert detail.endswith(" {because}") and untold(detail) == []


def test_translations_use_the_holes_of_their_sentences() -> None:
    for sentence, text in TOLD.items():
        assert set(HOLE.findall(text)) <= set(HOLE.findall(sentence)), sentence
