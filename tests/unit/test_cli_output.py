"""What the command prints where no terminal is."""

from tunescope.cli.output import ALIGNED_COLUMNS, plain_lines
from tunescope.units import format_duration


def test_a_long_cell_in_a_pipe_is_whole_and_moves_no_other_line() -> None:
    name = "x" * (ALIGNED_COLUMNS + 50)
    lines = plain_lines(
        [["id", "name", "state"], ["1", "short", "queued"], ["2", name, "failed"], ["3", "训练", "done"]]
    )
    assert lines == ["id  name   state", "1   short  queued", f"2   {name}  failed", "3   训练   done"]


def test_a_cell_of_several_lines_stays_one_row_without_blanks_at_its_end() -> None:
    assert plain_lines([["a", "b"], ["1\n2", ""]]) == ["a    b", "1 2"]


def test_durations_have_no_more_digits_than_one_reads() -> None:
    seconds = (4.24, 9.99, 57.7, 59.7, 200, 7500)
    assert [format_duration(each) for each in seconds] == [
        "4.2 s",
        "10.0 s",
        "58 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
