"""Read a data set file row by row, whatever its size; what is wrong with a row is a value, not an exception."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from tunescope.datasets.array import elements
from tunescope.datasets.formats import SUPPORTED, BadRow, Format, TrainingRow, detect_format, normalize
from tunescope.datasets.values import plain
from tunescope.problems import InvalidInput

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
MAX_ROW_BYTES = 64 * 1024**2
"""A longer line is refused: no tokenizer is meant for it, and it would fill memory."""
KEPT_PROBLEMS = 100
KEPT_ROWS = 20
PARQUET_BATCH_ROWS = 256


@dataclass(frozen=True)
class Row:
    """One row as the file has it. ``line`` is the line of a JSONL or CSV file, the row's number elsewhere; from 1."""

    line: int
    raw: dict[str, Any]


@dataclass(frozen=True)
class RowProblem:
    line: int
    message: str


@dataclass
class DatasetReport:
    """What a file holds. ``rows`` counts the good ones; only the first problems and rows are kept."""

    format: Format | None = None
    rows: int = 0
    problem_count: int = 0
    problems: list[RowProblem] = field(default_factory=list[RowProblem])
    first_rows: list[Row] = field(default_factory=list[Row])
    sha256: str = ""
    empty: bool = False


def read_rows(path: Path) -> Iterator[Row | RowProblem]:
    """Every row of the file, in order. Raises InvalidInput for an unknown kind of file."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return _read_jsonl(path)
    if suffix == ".json":
        return _read_json(path)
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    raise InvalidInput(
        f'"{path.name}" is not a kind of file that can be read.',
        fix=f"Give the file one of the endings {', '.join(SUFFIXES)}.",
    )


def read_training_rows(path: Path) -> Iterator[tuple[Row, TrainingRow, Format] | RowProblem]:
    """Every row made ready to train on; the first row that fits a format decides it for the file."""
    format: Format | None = None
    kind: type[TrainingRow] | None = None
    for row in read_rows(path):
        if isinstance(row, RowProblem):
            yield row
            continue
        format = format or detect_format(row.raw)
        if format is None:
            keys = ", ".join(name[:40] for name in list(row.raw)[:8]) or "none"
            yield RowProblem(row.line, f"The keys of this row ({keys}) fit no known format; expected {SUPPORTED}.")
            continue
        try:
            ready = normalize(row.raw, format)
        except BadRow as error:
            yield RowProblem(row.line, str(error))
            continue
        kind = kind or type(ready)
        if type(ready) is not kind:
            yield RowProblem(row.line, '"prompt" and "completion" are texts in some rows and turns in others.')
            continue
        yield row, ready, format


def check_dataset(path: Path) -> DatasetReport:
    """Read the whole file once and say what it holds. Raises InvalidInput for an unknown kind of file."""
    report = DatasetReport()
    for item in read_training_rows(path):
        if isinstance(item, RowProblem):
            report.problem_count += 1
            if len(report.problems) < KEPT_PROBLEMS:
                report.problems.append(item)
            continue
        row, _, report.format = item
        report.rows += 1
        if len(report.first_rows) < KEPT_ROWS:
            report.first_rows.append(row)
    if report.rows == 0 and report.problem_count == 0:
        report.empty = True
        report.problem_count = 1
        report.problems.append(RowProblem(1, "The file has no rows."))
    with path.open("rb") as stream:
        report.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return report


def _read_jsonl(path: Path) -> Iterator[Row | RowProblem]:
    with path.open("rb") as stream:
        line = 0
        while chunk := stream.readline(MAX_ROW_BYTES + 1):
            line += 1
            if len(chunk) > MAX_ROW_BYTES:
                _skip_line(stream, chunk)
                yield RowProblem(line, f"The line is longer than {MAX_ROW_BYTES // 1024**2} MiB.")
                continue
            if line == 1:
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            if chunk.strip():
                yield _parsed(line, chunk)


def _skip_line(stream: BinaryIO, chunk: bytes) -> None:
    while chunk and not chunk.endswith(b"\n"):
        chunk = stream.readline(MAX_ROW_BYTES)


def _parsed(line: int, chunk: bytes) -> Row | RowProblem:
    try:
        value = json.loads(chunk.decode("utf-8"))
    except UnicodeDecodeError as error:
        return RowProblem(line, f"The line is not valid UTF-8 (byte {error.start + 1}); save the file as UTF-8.")
    except json.JSONDecodeError as error:
        return RowProblem(line, f"The line is not valid JSON: {error.msg} at column {error.colno}.")
    except (RecursionError, ValueError):
        return RowProblem(
            line, "The line is not valid JSON: it is nested too deeply or holds a number that is too long."
        )
    return _row(line, value)


def _row(line: int, value: Any) -> Row | RowProblem:
    """The row in values that can be kept, shown and rendered, or why it is none."""
    if not isinstance(value, dict):
        return RowProblem(line, 'A row must be a JSON object, such as {"text": "..."}.')
    try:
        return Row(line, plain(value))
    except BadRow as error:
        return RowProblem(line, str(error))


def _read_json(path: Path) -> Iterator[Row | RowProblem]:
    """An array of rows; a file that has one object a line under this ending is read as JSONL."""
    with path.open("rb") as stream:
        start = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start:
            return
        if start[:1] == b"{" and isinstance(_parsed(1, start.splitlines()[0]), Row):
            yield from _read_jsonl(path)
            return
        if start[:1] != b"[":
            yield RowProblem(1, "A .json file must be an array of rows: [{...}, {...}].")
            return
        stream.seek(stream.seek(0) + (3 if stream.read(3) == b"\xef\xbb\xbf" else 0))
        number = 0
        try:
            bounded = _Bounded(stream)
            for value in elements(bounded):
                number += 1
                bounded.forget()
                yield _row(number, value)
        except _TooLong:
            yield RowProblem(
                number + 1, f"Row {number + 1} is longer than {MAX_ROW_BYTES // 1024**2} MiB; reading ends here."
            )
        except (ijson.JSONError, UnicodeDecodeError, RecursionError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            yield RowProblem(number + 1, f"The file is not valid JSON from row {number + 1} on: {reason}")


class _TooLong(Exception):
    """One row of a JSON array is longer than MAX_ROW_BYTES."""


class _Bounded:
    """A stream that ends in _TooLong when a single row would fill memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._since_row = 0

    def forget(self) -> None:
        self._since_row = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._since_row += len(chunk)
        if self._since_row > MAX_ROW_BYTES:
            raise _TooLong
        return chunk


def _read_csv(path: Path) -> Iterator[Row | RowProblem]:
    csv.field_size_limit(MAX_ROW_BYTES)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        header: list[str] | None = None
        line = 1
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield RowProblem(line, f"The file is not valid CSV from line {line} on: {error}.")
                return
            if cells is None:
                return
            if header is None:
                header = [name.strip() for name in cells]
                wrong = _header_problem(header)
                if wrong:
                    yield RowProblem(line, wrong)
                    return
            elif cells:
                yield _csv_row(line, header, cells)
            line = reader.line_num + 1


def _header_problem(header: list[str]) -> str | None:
    """Why these column names cannot be used; rows would lose the values of a name that stands there twice."""
    if not_utf8(header):
        return "The header is not valid UTF-8; save the file as UTF-8."
    repeated = [name for place, name in enumerate(header) if name and name in header[:place]]
    if repeated:
        return f'The header has the column "{repeated[0][:40]}" more than once; rename or remove one of them.'
    return None


def not_utf8(cells: list[str]) -> bool:
    """Whether reading had to escape bytes (surrogateescape)."""
    return any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell)


def _csv_row(line: int, header: list[str], cells: list[str]) -> Row | RowProblem:
    if len(cells) != len(header):
        return RowProblem(line, f"The row has {len(cells)} columns, but the header has {len(header)}.")
    if not_utf8(cells):
        return RowProblem(line, "The row is not valid UTF-8; save the file as UTF-8.")
    values: dict[str, Any] = dict(zip(header, cells, strict=True))
    for key in ("messages", "conversations"):
        if key in values:
            try:
                values[key] = json.loads(values[key])
            except (ValueError, RecursionError):
                return RowProblem(line, f'The column "{key}" must hold a JSON list of turns.')
    return _row(line, values)


def _read_parquet(path: Path) -> Iterator[Row | RowProblem]:
    import pyarrow
    from pyarrow import parquet  # heavy, and most files are JSONL

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                for value in batch.to_pylist():
                    number += 1
                    yield _row(number, value)
    except (pyarrow.ArrowException, OSError, ValueError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:160]
        yield RowProblem(number + 1, f"The file is not valid Parquet from row {number + 1} on: {reason}")
