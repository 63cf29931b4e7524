"""The allocator's model: sequences worked out by hand from its rules, and what must always hold."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tunescope.memory.allocator import CachingAllocator, Change, OutOfMemory
from tunescope.memory.native_allocator import UNIT, NativeAllocator, units
from tunescope.units import MIB
from worker.tracer.expandable import ExpandableAllocator
from worker.tracer.replay import highest_requested, replayed, runs_within, smallest_budget

KINDS = [CachingAllocator, ExpandableAllocator]


@pytest.mark.parametrize(
    ("size", "requested", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (1 * MIB, 1 * MIB, 2 * MIB),
        (1 * MIB + 1, 1 * MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 11 * MIB, 12 * MIB),
        (33 * MIB + 1, 33 * MIB + 512, 34 * MIB),
    ],
)
def test_one_request_of_the_native_allocator(size: int, requested: int, reserved: int) -> None:
    allocator = CachingAllocator()
    allocator.malloc(1, size)
    assert (allocator.requested, allocator.reserved) == (requested, reserved)


def test_small_and_large_blocks_never_share_a_segment() -> None:
    allocator = CachingAllocator().run([(1, 512), (2, 2 * MIB)])
    assert allocator.reserved == 22 * MIB


def test_a_large_block_is_split_only_if_more_than_one_mebibyte_remains() -> None:
    kept_whole = CachingAllocator().run([(1, 12 * MIB), (-1, 12 * MIB), (2, 11 * MIB)])
    assert (kept_whole.requested, kept_whole.active) == (11 * MIB, 12 * MIB)
    split = CachingAllocator().run([(1, 12 * MIB), (-1, 12 * MIB), (2, 11 * MIB - 512), (3, 1 * MIB + 512)])
    assert (split.active, split.reserved) == (12 * MIB, 12 * MIB)


def test_the_best_fit_is_taken_not_the_first() -> None:
    allocator = CachingAllocator()
    allocator.run([(1, 40 * MIB), (2, 20 * MIB), (-1, 0), (-2, 0), (3, 20 * MIB), (4, 40 * MIB)])
    assert allocator.reserved == 60 * MIB, "20 MiB went into the 20 MiB segment, so 40 MiB still fits the other"


def test_free_neighbours_merge() -> None:
    allocator = CachingAllocator()
    allocator.run([(1, 60 * MIB), (-1, 0), (2, 20 * MIB), (3, 20 * MIB), (4, 20 * MIB), (-2, 0), (-4, 0), (-3, 0)])
    allocator.malloc(5, 60 * MIB)
    assert allocator.reserved == 60 * MIB


def test_fragmentation_a_hole_too_small_is_not_used() -> None:
    """Two 30 MiB pieces of a 60 MiB segment, one still held: 40 MiB must come from the driver."""
    changes = [(1, 60 * MIB), (-1, 0), (2, 30 * MIB), (3, 30 * MIB), (-2, 0), (4, 40 * MIB)]
    assert CachingAllocator().run(changes).reserved == 100 * MIB
    # The expandable range continues: the 40 MiB go after the held piece, in two pages of 20 MiB.
    assert ExpandableAllocator().run(changes).reserved == 100 * MIB


def test_an_expandable_range_grows_only_by_what_is_missing() -> None:
    """The free tail of 30 MiB serves the first part of 50 MiB; one page of 20 MiB is mapped behind it."""
    changes = [(1, 30 * MIB), (2, 30 * MIB), (-2, 0), (3, 50 * MIB)]
    assert ExpandableAllocator().run(changes).reserved == 80 * MIB
    assert CachingAllocator().run(changes).reserved == 110 * MIB


def test_at_the_limit_free_segments_go_back_and_it_is_tried_once_more() -> None:
    changes = [(1, 40 * MIB), (2, 40 * MIB), (-1, 0), (3, 60 * MIB)]
    allocator = CachingAllocator(limit=100 * MIB).run(changes)
    assert (allocator.retries, allocator.reserved) == (1, 100 * MIB)
    assert CachingAllocator().run(changes).reserved == 140 * MIB
    with pytest.raises(OutOfMemory) as caught:
        CachingAllocator(limit=98 * MIB).run(changes)
    assert (caught.value.reserved, caught.value.active) == (40 * MIB, 40 * MIB)


def test_at_the_limit_whole_free_pages_of_a_range_are_unmapped() -> None:
    """Three pages free in the middle go back, and serve as pages behind the end."""
    changes = [(1, 60 * MIB), (2, 20 * MIB), (-1, 0), (3, 80 * MIB)]
    assert ExpandableAllocator().run(changes).reserved == 160 * MIB
    allocator = ExpandableAllocator(limit=100 * MIB).run(changes)
    assert (allocator.retries, allocator.reserved) == (1, 100 * MIB)


def test_unmapped_addresses_in_the_middle_are_used_again() -> None:
    allocator = ExpandableAllocator(limit=100 * MIB)
    allocator.run([(1, 60 * MIB), (2, 20 * MIB), (-1, 0), (3, 80 * MIB), (-3, 0), (4, 60 * MIB), (5, 20 * MIB)])
    assert allocator.active == 100 * MIB
    assert allocator.reserved == 100 * MIB


def test_the_smallest_budget_lies_between_the_peaks() -> None:
    """Roomy: 40 + 40 + 60. Giving the first 40 back, 100 MiB are enough; the active peak is 100 MiB."""
    changes = [(1, 40 * MIB), (2, 40 * MIB), (-1, 40 * MIB), (3, 60 * MIB), (-2, 40 * MIB), (-3, 60 * MIB)]
    assert smallest_budget(changes) == 100 * MIB
    answer = replayed(changes, [])
    assert (answer.active_peak_bytes, answer.reserved_peak_bytes) == (100 * MIB, 140 * MIB)


SIZES = st.one_of(st.integers(1, 4096), st.integers(1, 3 * MIB), st.integers(1 * MIB, 70 * MIB))
STEPS = st.lists(st.tuples(SIZES, st.integers(0, 10_000)), min_size=1, max_size=60)


def sequence(steps: list[tuple[int, int]]) -> list[Change]:
    """Mallocs, and after some of them frees of one that lives; at the end all are freed."""
    changes: list[Change] = []
    live: list[Change] = []
    for uid, (size, choice) in enumerate(steps, start=1):
        changes.append((uid, size))
        live.append((uid, size))
        if choice % 2:
            gone, freed = live.pop(choice % len(live))
            changes.append((-gone, freed))
    return changes + [(-uid, size) for uid, size in live]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_what_always_holds(kind: type[CachingAllocator], steps: list[tuple[int, int]]) -> None:
    allocator = kind()
    for uid, size in sequence(steps):
        if uid > 0:
            allocator.malloc(uid, size)
        else:
            allocator.free(-uid)
        assert 0 <= allocator.requested <= allocator.active <= allocator.reserved
    assert allocator.requested == allocator.active == 0
    assert allocator.reserved == allocator.reserved_peak >= allocator.active_peak
    allocator.release_cached()
    assert allocator.reserved == 0, "what is wholly free merges back into whole segments"


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, limit=st.one_of(st.none(), st.integers(20, 400)))
def test_the_allocator_that_estimates_replay_answers_alike(steps: list[tuple[int, int]], limit: int | None) -> None:
    changes = sequence(steps)
    sizes = [0, *(units(size) for uid, size in changes if uid > 0)]
    held = [0] * len(sizes)
    whole = CachingAllocator(limit and limit * MIB)
    quick = NativeAllocator(limit and limit * MIB // UNIT)
    for uid, size in [*changes, *changes]:
        try:
            whole.run([(uid, size)])
        except OutOfMemory as expected:
            with pytest.raises(OutOfMemory) as found:
                quick.run([uid], sizes, held)
            assert found.value.args == expected.args
            return
        quick.run([uid], sizes, held)
        assert (quick.reserved * UNIT, quick.active * UNIT, quick.retries) == (
            whole.reserved,
            whole.active,
            whole.retries,
        )
    assert quick.active_peak * UNIT == whole.active_peak


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, limit=st.integers(20, 400), at=st.integers(0, 60))
def test_what_a_replay_goes_on_from_is_as_if_it_had_run_within_its_limit_from_the_start(
    steps: list[tuple[int, int]], limit: int, at: int
) -> None:
    changes = sequence(steps)
    order, sizes = [uid for uid, _ in changes], [0, *(units(size) for uid, size in changes if uid > 0)]

    def ends(allocator: NativeAllocator, held: list[int]) -> tuple[object, ...]:
        try:
            allocator.run(order[at:] + order, sizes, held)
        except OutOfMemory as full:
            return full.args
        return allocator.reserved, allocator.active, allocator.active_peak, allocator.retries, held

    def begun(limit: int | None = None) -> tuple[NativeAllocator, list[int]]:
        allocator, held = NativeAllocator(limit), [0] * len(sizes)
        allocator.run(order[:at], sizes, held)
        return allocator, held

    first, held = begun()
    assume(first.reserved * UNIT <= limit * MIB)
    fork = first.fork(limit * MIB // UNIT)
    assert ends(fork, held.copy()) == ends(*begun(limit * MIB // UNIT))
    assert ends(first, held) == ends(*begun()), "they run apart"


@settings(max_examples=120, deadline=None)
@given(steps=STEPS)
def test_so_do_both_where_segments_can_expand(steps: list[tuple[int, int]]) -> None:
    changes = sequence(steps)
    sizes = [0, *(units(size) for uid, size in changes if uid > 0)]
    held = [0] * len(sizes)
    whole, quick = ExpandableAllocator(), NativeAllocator(expandable=True)
    for uid, size in [*changes, *changes]:
        whole.run([(uid, size)])
        quick.run([uid], sizes, held)
        assert (quick.reserved * UNIT, quick.active * UNIT) == (whole.reserved, whole.active)
    assert quick.active_peak * UNIT == whole.active_peak


@pytest.mark.parametrize("expandable", [False, True])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_a_budget_is_enough_and_less_is_not(expandable: bool, steps: list[tuple[int, int]]) -> None:
    changes = sequence(steps)
    answer = replayed(changes, [], expandable)
    needed = highest_requested(changes)
    assert needed <= answer.smallest_budget_bytes <= answer.reserved_peak_bytes
    assert runs_within(changes, answer.smallest_budget_bytes, expandable)
    assert not runs_within(changes, needed - 512, expandable)
