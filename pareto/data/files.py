"""Rows of a file one by one, with their line numbers: JSON lines, a JSON list, CSV or Parquet, each also as .gz.

Nothing is held but the row at hand. What can be wrong with a *row* goes to `BadRows`; what is wrong with the *file*
(absent, empty, cut short, a Git-LFS pointer) is an error at once.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pareto.data.bad_rows import BadRows
from pareto.data.json_rows import Row, json_lines, json_list
from pareto.data.table_rows import delimited, parquet
from pareto.errors import DataError

__all__ = ["FORMATS", "Row", "read_rows"]


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


FORMATS: Mapping[str, Callable[[Any, Path, BadRows], Iterator[Row]]] = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_list,
    ".csv": delimited(","),
    ".tsv": delimited("\t"),
    ".parquet": parquet,
}
