"""The table of states."""

from tunescope.states import ACTIVE, TERMINAL, TRANSITIONS, JobState, may_follow


def test_every_state_has_a_row_and_ends_somewhere() -> None:
    assert set(TRANSITIONS) == set(JobState)
    for state in JobState:
        seen, open_states = {state}, [state]
        while open_states:
            for following in TRANSITIONS[open_states.pop()] - seen:
                seen.add(following)
                open_states.append(following)
        assert seen & TERMINAL


def test_nothing_follows_an_end() -> None:
    assert not any(may_follow(state, following) for state in TERMINAL for following in JobState)
    assert TERMINAL.isdisjoint(ACTIVE)
