"""Data set files: every row is read or its problem named, whatever the file holds."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunescope.datasets import reading
from tunescope.datasets.reading import check_dataset
from tunescope.units import MIB

ROWS = {
    "messages": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    "alpaca": {"instruction": "i", "input": "", "output": "o"},
    "prompt_completion": {"prompt": "p", "completion": "c"},
    "text": {"text": "t"},
}


@pytest.mark.parametrize("format", ROWS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_each_format_is_recognised(tmp_path: Path, format: str, suffix: str) -> None:
    file = tmp_path / f"data{suffix}"
    rows = [ROWS[format]] * 3
    file.write_text(json.dumps(rows) if suffix == ".json" else "\n".join(json.dumps(row) for row in rows))
    report = check_dataset(file)
    assert (str(report.format), report.rows, report.problem_count) == (format, 3, 0)


def test_csv_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    csv = tmp_path / "data.csv"
    csv.write_text("prompt,completion\np,c\n")
    parquet = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["p"], "completion": ["c"]}), parquet)
    assert [check_dataset(file).rows for file in (csv, parquet)] == [1, 1]


def test_a_bad_row_is_named_by_its_line_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    good = json.dumps(ROWS["messages"])
    file.write_text("\n".join([good, "{not json", good, '{"messages": []}', good]))
    report = check_dataset(file)
    assert report.rows == 3
    assert [problem.line for problem in report.problems] == [2, 4]
    assert all(problem.why.text for problem in report.problems)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), suffix=st.sampled_from([".jsonl", ".json", ".csv", ".parquet"]))
def test_no_file_makes_a_traceback(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"data{suffix}"
    file.write_bytes(content)
    report = check_dataset(file)
    assert report.rows >= 0 and report.problem_count >= len(report.problems)


def test_the_built_in_data_set_is_clean_and_without_repeats() -> None:
    file = Path(__file__).resolve().parents[2] / "tunescope" / "datasets" / "vram-questions.jsonl"
    report = check_dataset(file)
    assert report.rows >= 200 and report.problem_count == 0
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(set(lines)) == len(lines)


GOOD = '{"text": "gut"}'


@pytest.mark.parametrize(
    ("content", "rows", "lines"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode(), 1, []),
        (f"{GOOD}\r\n\r\n  \r\n{GOOD}\r\n".encode(), 2, []),
        (f"\n\n{GOOD}\n\n".encode(), 1, []),
        (GOOD.encode("utf-16"), 0, [1]),
        ('{"text": "für"}\n'.encode("latin-1") + GOOD.encode(), 1, [1]),
        (f'{GOOD}\n{{"prompt": "p", "completion": "c"}}\n{GOOD}'.encode(), 2, [2]),
        (
            f'{GOOD}\n{{"text": null}}\n[1]\n"x"\nnull\n{{"text": {{"text": null}}}}\n{{"text": " "}}'.encode(),
            1,
            [2, 3, 4, 5, 6, 7],
        ),
        (b'{"messages": [{"role": null, "content": [null]}]}\n{"messages": {"a": null}}', 0, [1, 2]),
        (b'{"conversations": [{"from": "gpt", "value": null}, null]}', 0, [1]),
        (
            b'{"prompt": "p", "completion": "c"}\n{"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]}',
            1,
            [2],
        ),
        (b"[" * 100_000, 0, [1]),
        (b'{"text": ' + b"9" * 10_000 + b"}", 0, [1]),
        (b'{"text": "\\ud800"}', 0, [1]),
        (b'{"text": "a", "more": {"\\udfff": 1}}\n' + GOOD.encode(), 1, [1]),
        (b'{"text": "\\ud83d\\ude00"}', 1, []),
        (b'{"text": "a", "more": ' + b"[" * 31 + b"]" * 31 + b"}", 1, []),
        (b'{"text": "a", "more": ' + b"[" * 32 + b"]" * 32 + b"}\n" + GOOD.encode(), 1, [1]),
        (b'{"text": "a", "more": ' + b"[" * 900 + b"]" * 900 + b"}\n" + GOOD.encode(), 1, [1]),
        (GOOD.encode() + b"\x00", 0, [1]),
    ],
)
def test_every_line_is_a_row_or_a_named_problem(tmp_path: Path, content: bytes, rows: int, lines: list[int]) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(content)
    report = check_dataset(file)
    assert report.rows == rows, report.problems
    assert [problem.line for problem in report.problems] == lines
    assert all(problem.why.text.endswith(".") for problem in report.problems)


@pytest.mark.parametrize(
    ("content", "rows", "lines"),
    [
        ("text\n", 0, [1]),
        ("\ufefftext\r\neins\r\n\r\nzwei\r\n", 2, []),
        ("prompt,completion\np,c\np\np,c,d\np,\n", 1, [3, 4, 5]),
        ('text\n"two\nlines"\n"open', 1, [4]),
        ("messages\nnot json\n", 0, [2]),
        ('messages\n"[""\\ud800""]"\n', 0, [2]),
        ("text,prompt,text\na,b,c\n", 0, [1]),
        ("text,,\na,b,c\n", 1, []),
    ],
)
def test_tables_are_read_by_line(tmp_path: Path, content: str, rows: int, lines: list[int]) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(content.encode())
    report = check_dataset(file)
    assert report.rows == rows, report.problems
    assert [problem.line for problem in report.problems] == lines


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "conversations", "role", "from", "content", "value", "text", "prompt", "completion"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(JSON, max_size=6))
def test_whatever_json_holds_each_value_is_counted_once(tmp_path: Path, values: list[object]) -> None:
    lines, array = tmp_path / "data.jsonl", tmp_path / "data.json"
    lines.write_text("\n".join(json.dumps(value) for value in values))
    array.write_text(json.dumps(values))
    reports = [check_dataset(file) for file in (lines, array)]
    for report in reports:
        assert report.rows + report.problem_count == max(1, len(values))
    assert reports[0].rows == reports[1].rows


@pytest.mark.parametrize("depth", [100, 3_000, 200_000])
def test_a_deep_row_of_an_array_is_named_not_followed(tmp_path: Path, depth: int) -> None:
    array = tmp_path / "data.json"
    array.write_text(f'[{GOOD}, {{"text": "a", "more": {"[" * depth}{"]" * depth}}}, {GOOD}]')
    report = check_dataset(array)
    assert [problem.line for problem in report.problems] == [2]
    assert "nested too deeply" in report.problems[0].why.text


def test_a_column_named_twice_is_refused_by_its_name(tmp_path: Path) -> None:
    table = tmp_path / "data.csv"
    table.write_text("prompt,completion,prompt\na,b,c\n")
    assert '"prompt" more than once' in check_dataset(table).problems[0].why.text


def test_columns_that_json_does_not_know_are_kept_as_text(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    file = tmp_path / "data.parquet"
    when = datetime(2026, 1, 2, 3, 4, 5)
    table = pyarrow.table({"text": ["t"], "raw": [b"\xff\xfe"], "at": [when], "share": [float("nan")]})
    pyarrow.parquet.write_table(table, file)
    (row,) = check_dataset(file).first_rows
    assert row.raw == {"text": "t", "raw": "2 bytes", "at": "2026-01-02T03:04:05", "share": "nan"}


def test_numbers_of_any_size_are_rows_in_both_kinds_of_file(tmp_path: Path) -> None:
    numbers = [-(2**63), 2**80, 0.5, 1e300]
    rows = [{"text": "a", "more": [number, {"n": number}]} for number in numbers]
    lines, array = tmp_path / "data.jsonl", tmp_path / "data.json"
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    array.write_text(json.dumps(rows))
    read = [[row.raw for row in reading.read_rows(file) if isinstance(row, reading.Row)] for file in (lines, array)]
    assert read == [rows, rows]


def test_a_row_that_is_too_long_is_named_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 1000)
    long = json.dumps({"text": "x" * 100_000})
    lines, array = tmp_path / "data.jsonl", tmp_path / "data.json"
    lines.write_text(f"{GOOD}\n{long}\n{GOOD}\n")
    report = check_dataset(lines)
    assert (report.rows, [problem.line for problem in report.problems]) == (2, [2])
    array.write_text(f"[{GOOD}, {json.dumps({'text': 'x' * 1_000_000})}]")
    assert check_dataset(array).problem_count == 1


MEASURE = """
import resource, sys
from pathlib import Path
from tunescope.datasets import reading
from tunescope.datasets.reading import check_dataset
from tunescope.units import MIB
assert check_dataset(Path(sys.argv[1])).rows == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_rows(file: Path, count: int) -> None:
    """``count`` rows of 10 kB each, in the file's own format."""
    row = {"text": "x" * 10_000}
    if file.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        with pyarrow.parquet.ParquetWriter(
            file, pyarrow.schema([("text", pyarrow.string())]), compression="none"
        ) as out:
            for start in range(0, count, 500):
                texts = [str(number) + row["text"] for number in range(start, min(count, start + 500))]
                out.write_table(pyarrow.table({"text": texts}))
        return
    begin, between, end = {".jsonl": ("", "\n", ""), ".json": ("[", ",", "]"), ".csv": ("text\n", "\n", "\n")}[
        file.suffix
    ]
    line = row["text"] if file.suffix == ".csv" else json.dumps(row)
    with file.open("w") as out:
        out.write(begin)
        for number in range(count):
            out.write((between if number else "") + line)
        out.write(end)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str) -> None:
    """Rows are read one by one, so 100 MB take what 10 MB take; and so would 1 GB."""
    peaks: list[int] = []
    for count in (1000, 10_000):
        file = tmp_path / f"data{count}{suffix}"
        write_rows(file, count)
        ran = subprocess.run([sys.executable, "-c", MEASURE, str(file), str(count)], capture_output=True, check=True)
        peaks.append(int(ran.stdout) * 1024)
        file.unlink()
    assert peaks[1] - peaks[0] < 30 * MIB, peaks
