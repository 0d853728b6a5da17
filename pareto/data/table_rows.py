"""Rows of tables: CSV with nested columns, Parquet with the types of other programs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pareto.data.bad_rows import BadRows, RowError
from pareto.data.json_rows import DECODER, MAX_ROW_BYTES, Row, as_text
from pareto.errors import DataError, MissingPackageError, printable

BATCH = 64
"""Most rows of a Parquet file that are in memory at a time."""
BATCH_BYTES = 2**30
"""Fewer rows where a column's values could be so long that more would not fit: a small file can say a long text many times."""


def delimited(delimiter: str) -> Callable[[BinaryIO, Path, BadRows], Iterator[Row]]:
    """A reader of rows of cells between delimiters, under a header."""

    def rows(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
        csv.field_size_limit(MAX_ROW_BYTES)
        with as_text(stream) as text:
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
        raise DataError(f"{path}:1: column names must be unique; doubled: {printable(', '.join(doubled))}")
    for outer in _NESTED:
        inner = [c for c in cells if c.startswith(f"{outer}.")]
        if outer in cells and inner:
            raise DataError(
                f"{path}:1: the columns {outer!r} and {inner[0]!r} speak of the same; leave one of them out"
            )
    return cells


_NESTED = ("preferences", "scores")
"""What a CSV file may spread over columns, one a name."""


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
        if dot and outer in _NESTED:
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
            return DECODER.decode(cell)
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


def parquet(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
    """Rows of a Parquet file, some of them in memory at a time."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError("pyarrow", "parquet", f"reading {path.name}") from error
    try:
        number = 0
        file = pyarrow.parquet.ParquetFile(stream)
        for batch in file.iter_batches(batch_size=_at_a_time(file.metadata)):
            for row in _rows(batch):
                number += 1
                if isinstance(row, RowError):
                    bad.add(path, number, str(row))
                else:
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file ({printable(' '.join(str(error).split()))})"
        ) from error


def _at_a_time(metadata: Any) -> int:
    """Rows of a batch: no value is longer than its column's stored bytes in a row group."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    sizes = (g.column(i).total_uncompressed_size for g in groups for i in range(g.num_columns))
    return max(1, min(BATCH, BATCH_BYTES // max(1, *sizes, 1)))


def _rows(batch: Any) -> list[Any]:
    """The rows of a batch; one by one where some cannot be told, each of those as its `RowError`."""
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError):
        return [_row(batch, i) for i in range(batch.num_rows)]


def _row(batch: Any, i: int) -> Any:
    try:
        return batch.slice(i, 1).to_pylist()[0]
    except UnicodeDecodeError as error:
        return RowError(f"not UTF-8: byte {error.object[error.start]:#04x}")
    except (ValueError, OverflowError) as error:  # a date before the year 1, for one
        return RowError(f"a value cannot be read: {printable(' '.join(str(error).split()))}")
