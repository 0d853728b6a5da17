"""Rows of a file one by one, with their line numbers: JSON lines, a JSON list, CSV or Parquet, each also as .gz.

Nothing is held but the row at hand. What can be wrong with a *row* goes to `BadRows`; what is wrong with the *file*
(absent, empty, cut short, a Git-LFS pointer) is an error at once.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pareto.data.bad_rows import BadRows, RowError
from pareto.errors import DataError, MissingPackageError

MAX_ROW_BYTES = 16 * 2**20
"""A longer row is reported as bad: text data has no such rows, broken files do."""
CHUNK = 2**20

Row = tuple[int, dict[str, Any]]
"""(line number from 1, columns). Parquet counts rows, every other format lines of the file."""


def read_rows(path: Path, bad: BadRows) -> Iterator[Row]:
    """Yield the rows of a file in order.

    Args:
        path: .jsonl or .ndjson (one JSON object a line), .json (a list of objects), .csv, .tsv or .parquet; all but the
            last also with .gz.
        bad: told of every row that cannot be read.

    Yields:
        Line number and columns.

    Raises:
        DataError: the file is absent, empty, cut short, a Git-LFS pointer or of another format; or a row is bad and
            `bad` says stop.
        MissingPackageError: Parquet without pyarrow.
    """
    suffixes = [s.lower() for s in path.suffixes]
    zipped = bool(suffixes) and suffixes[-1] == ".gz"
    kind = suffixes[-2 if zipped else -1] if len(suffixes) > zipped else ""
    if kind not in FORMATS:
        raise DataError(
            f"{path}: a data file must end in {', '.join(FORMATS)} (with or without .gz); got {path.name!r}"
        )
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty")
    with path.open("rb") as raw:
        if raw.read(40).startswith(b"version https://git-lfs"):
            raise DataError(
                f"{path}: this is a Git-LFS pointer, not the data; run `git lfs pull` where it came from"
            )
        raw.seek(0)
        stream: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        try:
            yield from FORMATS[kind](stream, path, bad)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: the compressed file is broken or cut short ({error})") from error


def decode(line: bytes) -> str:
    """UTF-8 text of a line.

    Raises:
        RowError: it is not UTF-8, with the first bad byte.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(
            f"not UTF-8: byte {error.object[error.start]:#04x} at column {error.start + 1}"
        ) from None


def parse_json(text: str) -> dict[str, Any]:
    """One JSON object; NaN and infinity are not JSON.

    Raises:
        RowError: anything else.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        hint = " (the line ends in the middle of a value)" if cut else ""
        raise RowError(f"not JSON: {error.msg} at column {error.colno}{hint}") from None
    except (ValueError, RecursionError) as error:
        raise RowError(f"not JSON: {str(error) or type(error).__name__}") from None
    return _as_object(value)


def _as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError(f"a row must be a JSON object; got {type(value).__name__}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number (write null where a number is unknown)")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _json_lines(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
    number = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        try:
            if len(line) > MAX_ROW_BYTES:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(CHUNK)
                raise RowError(f"the line is longer than {MAX_ROW_BYTES // 2**20} MiB")
            text = decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            if not text.strip():
                continue
            row = parse_json(text)
        except RowError as error:
            bad.add(path, number, str(error))
        else:
            yield number, row


def _json_list(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
    """Decode a JSON list element by element; a file that starts with an object is read as JSON lines."""
    try:
        with _as_text(stream, "strict") as text:
            buffer = text.read(CHUNK)
            if not buffer.lstrip().startswith("{"):
                yield from _list_elements(text, buffer, path, bad)
                return
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); a JSON list cannot be read past it") from error
    stream.seek(0)
    yield from _json_lines(stream, path, bad)


@contextlib.contextmanager
def _as_text(stream: BinaryIO, errors: str) -> Iterator[io.TextIOWrapper]:
    """The stream as UTF-8 text, without a byte-order mark; the stream stays open for whoever opened it."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors=errors, newline="")
    try:
        yield text
    finally:
        text.detach()


def _list_elements(text: io.TextIOBase, buffer: str, path: Path, bad: BadRows) -> Iterator[Row]:
    pos = len(buffer) - len(buffer.lstrip())
    line = 1 + buffer.count("\n", 0, pos)
    if buffer[pos : pos + 1] != "[":
        raise DataError(
            f"{path}:{line}: a .json file must hold a list of objects; got {buffer[pos : pos + 20]!r}"
        )
    pos, first = pos + 1, True
    while True:
        try:
            begin, end, value = _next_element(buffer, pos, first)
        except json.JSONDecodeError as error:
            more = text.read(max(CHUNK, len(buffer) - pos))  # doubling keeps the whole read linear
            if not more or len(buffer) - pos > 2 * MAX_ROW_BYTES:
                at = line + buffer.count("\n", pos, error.pos)
                raise DataError(
                    f"{path}:{at}: the JSON list is broken, cut short, or has an element of more than "
                    f"{MAX_ROW_BYTES // 2**20} MiB ({error.msg}); nothing after it can be read"
                ) from None
            buffer, pos = buffer[pos:] + more, 0
            continue
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{line}: {str(error) or type(error).__name__}") from None
        line += buffer.count("\n", pos, begin)
        if end is None:
            return
        try:
            row = _as_object(value)
        except RowError as error:
            bad.add(path, line, str(error))
        else:
            yield line, row
        line += buffer.count("\n", begin, end)
        pos, first = end, False


def _next_element(buffer: str, pos: int, first: bool) -> tuple[int, int | None, Any]:
    """(begin, end, value) of the list element after `pos`; end is None at the closing bracket.

    Raises:
        json.JSONDecodeError: the buffer holds no whole element: read more, or the file is broken.
    """
    gap = _GAP.match(buffer, pos)
    assert gap is not None  # the pattern matches the empty string
    begin, comma = gap.end(), "," in gap.group()
    if begin == len(buffer):
        raise json.JSONDecodeError("the list has no end", buffer, begin)
    if buffer[begin] == "]" and not comma:
        return begin, None, None
    if comma == first:
        raise json.JSONDecodeError("one comma must stand between two elements", buffer, begin)
    value, end = _DECODER.raw_decode(buffer, begin)
    return begin, end, value


_GAP = re.compile(r"\s*,?\s*")


def _table(delimiter: str) -> Callable[[BinaryIO, Path, BadRows], Iterator[Row]]:
    def rows(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
        csv.field_size_limit(MAX_ROW_BYTES)
        with _as_text(stream, "surrogateescape") as text:  # a byte that is not UTF-8 spoils its own row only
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            header: list[str] | None = None
            while True:
                try:
                    cells = next(reader)
                    if header is None:
                        header = _header(cells, path)
                    elif cells:
                        row = _cells(header, cells)
                        yield reader.line_num, row
                except StopIteration:
                    return
                except (csv.Error, RowError) as error:
                    bad.add(path, reader.line_num, str(error))

    return rows


def _header(cells: list[str], path: Path) -> list[str]:
    doubled = sorted({c for c in cells if cells.count(c) > 1})
    if doubled:
        raise DataError(f"{path}:1: column names must be unique; doubled: {', '.join(doubled)}")
    return cells


def _cells(header: list[str], cells: list[str]) -> dict[str, Any]:
    """Columns of a CSV row: empty is null, `preferences.helpful` is a key of `preferences`, JSON lists and objects are read."""
    if len(cells) != len(header):
        raise RowError(f"the row has {len(cells)} cells, the header {len(header)}")
    row: dict[str, Any] = {}
    for name, cell in zip(header, cells):
        if any("\udc80" <= c <= "\udcff" for c in cell):
            raise RowError(f"not UTF-8: in column {name!r}")
        value = _cell(name, cell)
        outer, dot, inner = name.partition(".")
        if dot and outer in ("preferences", "scores"):
            row.setdefault(outer, {})[inner] = value
        else:
            row[name] = value
    return row


def _cell(name: str, cell: str) -> Any:
    if not cell:
        return None
    structured = name in ("responses", "scores", "preferences", "completions", "labels")
    if structured or (name in ("prompt", "chosen", "rejected", "completion") and cell.startswith("[{")):
        try:
            return _DECODER.decode(cell)
        except ValueError as error:
            raise RowError(f"column {name!r} must hold JSON: {error}") from None
    if name in ("weight", "margin") or name.startswith(("preferences.", "scores.")):
        try:
            return float(cell)
        except ValueError:
            raise RowError(f"column {name!r} must hold a number; got {cell!r}") from None
    if name == "label" and cell.lower() in ("true", "false", "1", "0"):
        return cell.lower() in ("true", "1")
    return cell


def _parquet(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError("pyarrow", "parquet", f"reading {path.name}") from error
    try:
        table = pyarrow.parquet.ParquetFile(stream)
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


FORMATS: Mapping[str, Callable[[Any, Path, BadRows], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_list,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
}
