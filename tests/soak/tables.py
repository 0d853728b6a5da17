"""Preference rows as tables: CSV with its quotes, Parquet with its types, whole and broken."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from random import Random
from typing import Any

Row = dict[str, Any]
Damage = Callable[[bytes, Random], bytes]


def csv_file(
    delimiter: str, sound: Callable[[Random], Row], spoil: Callable[[Row, Random], Row], damage: Damage
) -> Callable[[Random, int], bytes]:
    """A writer of CSV files: columns of several shapes, nested ones as JSON or as `preferences.NAME`."""

    def write(draw: Random, n: int) -> bytes:
        rows = [spoil(sound(draw), draw) if draw.random() < 0.4 else sound(draw) for _ in range(n)]
        columns = sorted({str(k) for row in rows[:20] for k in row})
        draw.shuffle(columns)
        if draw.random() < 0.1:
            columns.append(draw.choice((columns[0], "", "preferences.", "scores.helpful")))
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, lineterminator=draw.choice(("\n", "\r\n")))
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(row.get(c)) for c in columns][: len(columns) - (draw.random() < 0.02)])
        raw = out.getvalue().encode("utf-8", "surrogatepass")
        for _ in range(draw.choice((0, 0, 1, 5))):
            at = draw.randrange(len(raw))
            raw = raw[:at] + damage(raw[at : at + 200], draw) + raw[at + 200 :]
        return raw

    return write


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def parquet_file(
    sound: Callable[[Random], Row], odd: tuple[Any, ...], damage: Damage
) -> Callable[[Random, int], bytes]:
    """A writer of Parquet files: columns of the types that other programs write, some of them wrong, some files broken."""

    def write(draw: Random, n: int) -> bytes:
        import pyarrow
        import pyarrow.parquet

        first = sound(draw)
        alike = [row for row in (sound(draw) for _ in range(n)) if row.keys() == first.keys()] or [first]
        rows = [draw.choice(alike) for _ in range(n)]
        columns = {name: _column(draw, [row[name] for row in rows], odd) for name in first}
        out = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), out, row_group_size=draw.choice((7, 1000)))
        raw = out.getvalue()
        for _ in range(draw.choice((0, 0, 0, 1, 3))):
            at = draw.randrange(len(raw))
            raw = raw[:at] + damage(raw[at : at + 60], draw) + raw[at + 60 :]
        return raw

    return write


def _column(draw: Random, values: list[Any], odd: tuple[Any, ...]) -> Any:
    """One column: as it is, or as another type would have it."""
    import pyarrow

    match draw.randrange(60):
        case 0:
            return pyarrow.array([draw.choice((None, 0.5, float("nan"), float("inf"))) for _ in values])
        case 1:
            return pyarrow.array([draw.choice((None, -1, 2**62)) for _ in values], pyarrow.int64())
        case 2:
            return pyarrow.array([None] * len(values))
        case 3:
            raw = [str(v).encode("utf-8", "replace") + draw.choice((b"", b"\xff", b"\xc3")) for v in values]
            return _bad_text(raw)
        case 4:
            return pyarrow.array([str(v).encode("utf-8", "replace") for v in values], pyarrow.binary())
        case 5:
            return pyarrow.array([str(v) for v in values]).dictionary_encode()
        case 6:
            return pyarrow.array([draw.choice((None, 10**12)) for _ in values], pyarrow.timestamp("us"))
        case 7:
            return pyarrow.array(
                [[("helpful", 1.0), ("brief", None)] for _ in values],
                pyarrow.map_(pyarrow.string(), pyarrow.float64()),
            )
        case 8:
            texts = [v for v in odd if isinstance(v, str) and v.isprintable()]
            return pyarrow.array([draw.choice(texts) for _ in values])
        case _:
            try:
                return pyarrow.array(values)
            except (pyarrow.ArrowException, OverflowError, ValueError):
                return pyarrow.array([json.dumps(v) for v in values])  # fmt: skip


def _bad_text(raw: list[bytes]) -> Any:
    """A column that says it is text and holds bytes that are none."""
    import pyarrow

    binary = pyarrow.array(raw, pyarrow.binary())
    return pyarrow.Array.from_buffers(pyarrow.string(), len(binary), binary.buffers())
