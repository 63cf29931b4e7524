"""Climbs of memory: what is told, when, and that steady runs hear nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tunescope.units import GIB, MIB
from worker.trainer.watch import LEAST_POINTS, QUIET_STEPS, WARM_UP_STEPS, Finding, StepFacts, Watch, slope_of

CARD = 80 * GIB


def on_card(step: int, allocated: int, reserved: int | None = None, others: int = 0, **more: int) -> StepFacts:
    held = reserved if reserved is not None else allocated + GIB
    return StepFacts(
        step=step,
        allocated_peak=allocated,
        reserved=held,
        retries=more.pop("retries", 0),
        used=allocated,
        others=others,
        device_used=held + others,
        device_total=CARD,
        **more,
    )


def told(facts: list[StepFacts]) -> list[Finding]:
    watch = Watch()
    return [finding for item in facts for finding in watch.step(item)]


@settings(max_examples=60, deadline=None)
@given(
    level=st.integers(GIB, 60 * GIB),
    noise=st.lists(st.integers(0, 8 * MIB), min_size=20, max_size=150),
    lengths=st.integers(100, 150),
)
def test_a_steady_run_hears_nothing(level: int, noise: list[int], lengths: int) -> None:
    steps = [
        on_card(number, level + extra, level + GIB, longest_tokens=lengths + extra % 40)
        for number, extra in enumerate(noise, 1)
    ]
    assert told(steps) == []


@settings(max_examples=60, deadline=None)
@given(start=st.integers(GIB, 30 * GIB), rise=st.integers(20 * MIB, 2 * GIB))
def test_a_steady_rise_is_told_before_the_card_is_full(start: int, rise: int) -> None:
    steps: list[StepFacts] = []
    allocated = start
    while allocated + GIB < CARD and len(steps) < 4000:
        steps.append(on_card(len(steps) + 1, allocated))
        allocated += rise
    found = told(steps)
    if len(steps) > WARM_UP_STEPS + LEAST_POINTS:
        assert any(item.code == "rising" for item in found)
    rising = [item for item in found if item.code == "rising"]
    assert not rising or rising[0].step < len(steps)
    assert all(item.figures["bytes_a_step"] > 0 for item in rising)


def test_one_jump_is_no_trend() -> None:
    levels = [20 * GIB] * 10 + [40 * GIB] * 60
    assert [item.code for item in told([on_card(n, level) for n, level in enumerate(levels, 1)])] == []


def test_the_longest_sample_is_named() -> None:
    lengths = [900, 1000, 950, 980, 1000, 8131, 1000, 8131]
    found = told([StepFacts(step=807 + n, longest_tokens=length) for n, length in enumerate(lengths)])
    assert [(item.code, item.step) for item in found] == [("length_outlier", 812)]
    assert "Step 812 held the longest sample: 8,131 tokens" in found[0].message
    assert found[0].figures == {"tokens": 8131, "tokens_before": 1000}


def test_retries_of_the_allocator_are_told_with_their_number() -> None:
    found = told([on_card(1, GIB), on_card(2, GIB, retries=0), on_card(3, GIB, retries=2), on_card(4, GIB, retries=2)])
    assert [(item.code, item.step, item.figures["retries"]) for item in found] == [("allocator_retry", 3, 2)]


def test_growing_holes_are_told_and_not_again_at_once() -> None:
    steps = [on_card(n, 10 * GIB, 11 * GIB + n * 100 * MIB) for n in range(1, 40)]
    found = [item for item in told(steps) if item.code == "fragmentation"]
    assert len(found) == 1 and found[0].figures["gap"] > 0.2 * found[0].figures["reserved"]
    later = [on_card(n, 10 * GIB, 11 * GIB + n * 100 * MIB) for n in range(1, 40 + QUIET_STEPS)]
    assert len([item for item in told(later) if item.code == "fragmentation"]) == 2


def test_another_process_that_takes_the_room_is_told() -> None:
    steps = [on_card(n, 40 * GIB, others=n * 2 * GIB) for n in range(1, 20)]
    found = [item for item in told(steps) if item.code == "other_process"]
    assert found and "Another process" in found[0].message
    assert [item.exhausting for item in found] == [False, True], "what was a warning becomes urgent once, at once"
    small = [on_card(n, 10 * GIB, others=n * MIB) for n in range(1, 200)]
    assert told(small) == []


def test_a_full_card_is_told_only_when_its_cache_is_needed_too() -> None:
    cached = on_card(1, 30 * GIB, 79 * GIB)
    needed = on_card(2, 79 * GIB, 79 * GIB)
    assert [item.code for item in told([cached, needed])] == ["nearly_full"]


def test_where_figures_are_unknown_nothing_is_told() -> None:
    assert told([StepFacts(step=n) for n in range(1, 100)]) == []


def test_slope() -> None:
    assert slope_of([(1, 10), (2, 20), (3, 30)]) == 10
    assert slope_of([(5, 7)]) == 0
