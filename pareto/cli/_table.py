"""Any table of points as a pandas frame: CSV, TSV, JSON, JSON lines, Parquet or npz."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pandas


def read_table(
    path: Path, numbers: Sequence[str], optional: Sequence[str] = (), words: Sequence[str] = ()
) -> pandas.DataFrame:
    """Read the wanted columns of a table.

    Args:
        path: .csv, .tsv, .jsonl, .json (a list of objects), .parquet, or .npz: one array [n] per column, or an array
            "values" [n, m] whose columns are the wanted numbers in their order.
        numbers: columns that must be there; every cell a number, or empty, null or "nan" for one that is not known.
        optional: columns of numbers that need not be there.
        words: columns that are kept as they are where they are there.

    Returns:
        Frame with the wanted columns; `frame.index` is the line (or row) each came from, for messages.

    Raises:
        DataError: no such file, another format, a column that is missing, a cell that is no number; with file and line.
    """
    import pandas

    if path.suffix.lower() == ".npz":
        frame = _npz(path, numbers)
    else:
        rows = list(_rows(path))
        frame = pandas.DataFrame([row for _, row in rows], index=[line for line, _ in rows], dtype=object)
    if frame.empty and len(frame.columns) == 0:
        raise DataError(f"{path}: expected a table with the columns {', '.join(numbers)}; it holds no rows")
    missing = [name for name in numbers if name not in frame.columns]
    if missing:
        columns = [str(c) for c in frame.columns]
        raise DataError(
            f"{path}: expected a column {missing[0]!r}{did_you_mean(missing[0], columns)}; it has {', '.join(columns)}"
        )
    numbers = [*numbers, *(name for name in optional if name in frame.columns)]
    for name in numbers:
        frame[name] = [_number(cell, f"{path}:{line}: {name}") for line, cell in frame[name].items()]
    return frame.loc[:, [*numbers, *(name for name in words if name in frame.columns)]]


def _rows(path: Path):
    from pareto.data.bad_rows import BadRows
    from pareto.data.files import read_rows

    return read_rows(path, BadRows("stop"))


def _npz(path: Path, numbers: Sequence[str]) -> pandas.DataFrame:
    import numpy as np
    import pandas

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: expected a readable npz file without pickled objects; {error}") from error
    values = arrays.pop("values", None)
    if values is not None:
        if values.ndim != 2 or values.shape[1] != len(numbers):
            raise DataError(
                f"{path}: expected 'values' of shape [n, {len(numbers)}] ({', '.join(numbers)}); got {list(values.shape)}"
            )
        arrays |= {name: values[:, i] for i, name in enumerate(numbers)}
    columns = {name: array for name, array in arrays.items() if array.ndim == 1}
    lengths = {name: len(array) for name, array in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: expected columns of one length; got {lengths}")
    frame = pandas.DataFrame({name: array.tolist() for name, array in columns.items()}, dtype=object)
    frame.index += 1
    return frame


def _number(cell: Any, place: str) -> float:
    """A cell as a float; what is not known is NaN, what is no number is an error."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    if isinstance(cell, (int, float, str)) and not isinstance(cell, bool):
        try:
            return float(cell)
        except ValueError:
            pass
    raise DataError(f"{place}: expected a number; got {cell!r:.80}")
