"""Read a data set file row by row, whatever its size; what is wrong with a row is a value, not an exception."""

import csv
import hashlib
import json
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from tunescope.datasets.array import elements
from tunescope.datasets.formats import SUPPORTED, BadRow, Format, TrainingRow, detect_format, normalize
from tunescope.datasets.values import plain
from tunescope.problems import InvalidInput
from tunescope.sentences import Sentence, say

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
MAX_ROW_BYTES = 64 * 1024**2
"""A longer line is refused: no tokenizer is meant for it, and it would fill memory."""
KEPT_PROBLEMS = 100
KEPT_ROWS = 20
PARQUET_BATCH_ROWS = 256
LOOKED_AT_BYTES = 64 * 1024
"""Of a file without a usable row, to tell whether it is text at all."""


@dataclass(frozen=True)
class Row:
    """One row as the file has it. ``line`` is the line of a JSONL or CSV file, the row's number elsewhere; from 1."""

    line: int
    raw: dict[str, Any]


@dataclass(frozen=True)
class RowProblem:
    line: int
    why: Sentence


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
    kinds: set[str] = field(default_factory=set[str])
    """Kinds of all its problems, also of those that are not kept."""


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
    raise InvalidInput(say("unknown_kind_of_file", file=path.name), say("use_ending", choices=", ".join(SUFFIXES)))


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
            keys = ", ".join(name[:40] for name in list(row.raw)[:8])
            yield RowProblem(row.line, say("unknown_keys", keys=keys or say("no_keys"), known=SUPPORTED))
            continue
        try:
            ready = normalize(row.raw, format)
        except BadRow as error:
            yield RowProblem(row.line, error.why)
            continue
        kind = kind or type(ready)
        if type(ready) is not kind:
            yield RowProblem(row.line, say("texts_and_turns"))
            continue
        yield row, ready, format


def check_dataset(path: Path) -> DatasetReport:
    """Read the whole file once and say what it holds. Raises InvalidInput for an unknown kind of file."""
    report = DatasetReport()
    for item in read_training_rows(path):
        if isinstance(item, RowProblem):
            report.problem_count += 1
            report.kinds.add(item.why.kind)
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
        report.problems.append(RowProblem(1, say("file_empty")))
    with path.open("rb") as stream:
        report.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return report


def is_text(path: Path) -> bool:
    """Whether a file may be text in UTF-8, by its beginning: no text holds a zero byte, or a byte that is no part of UTF-8."""
    with path.open("rb") as stream:
        beginning = stream.read(LOOKED_AT_BYTES)
    try:
        getincrementaldecoder("utf-8")().decode(beginning)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return b"\0" not in beginning


def _read_jsonl(path: Path) -> Iterator[Row | RowProblem]:
    with path.open("rb") as stream:
        line = 0
        while chunk := stream.readline(MAX_ROW_BYTES + 1):
            line += 1
            if len(chunk) > MAX_ROW_BYTES:
                _skip_line(stream, chunk)
                yield RowProblem(line, say("line_too_long", limit_bytes=MAX_ROW_BYTES))
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
        return RowProblem(line, say("line_not_utf8", byte=error.start + 1))
    except json.JSONDecodeError as error:
        return RowProblem(line, say("line_not_json", said=error.msg, column=error.colno))
    except (RecursionError, ValueError):
        return RowProblem(line, say("line_too_deep_or_number_too_long"))
    return _row(line, value)


def _row(line: int, value: Any) -> Row | RowProblem:
    """The row in values that can be kept, shown and rendered, or why it is none."""
    if not isinstance(value, dict):
        return RowProblem(line, say("row_no_object"))
    try:
        return Row(line, plain(value))
    except BadRow as error:
        return RowProblem(line, error.why)


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
            yield RowProblem(1, say("json_no_array"))
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
            yield RowProblem(number + 1, say("row_too_long", row=number + 1, limit_bytes=MAX_ROW_BYTES))
        except (ijson.JSONError, UnicodeDecodeError, RecursionError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            yield RowProblem(number + 1, say("not_json_from", row=number + 1, said=reason))


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
                yield RowProblem(line, say("not_csv_from", line=line, said=str(error)))
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


def _header_problem(header: list[str]) -> Sentence | None:
    """Why these column names cannot be used; rows would lose the values of a name that stands there twice."""
    if not_utf8(header):
        return say("header_not_utf8")
    repeated = [name for place, name in enumerate(header) if name and name in header[:place]]
    if repeated:
        return say("column_repeated", name=repeated[0][:40])
    return None


def not_utf8(cells: list[str]) -> bool:
    """Whether reading had to escape bytes (surrogateescape)."""
    return any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell)


def _csv_row(line: int, header: list[str], cells: list[str]) -> Row | RowProblem:
    if len(cells) != len(header):
        return RowProblem(line, say("row_columns", cells=len(cells), columns=len(header)))
    if not_utf8(cells):
        return RowProblem(line, say("row_not_utf8"))
    values: dict[str, Any] = dict(zip(header, cells, strict=True))
    for key in ("messages", "conversations"):
        if key in values:
            try:
                values[key] = json.loads(values[key])
            except (ValueError, RecursionError):
                return RowProblem(line, say("column_must_hold_turns", name=key))
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
        yield RowProblem(number + 1, say("not_parquet_from", row=number + 1, said=reason))
