"""Files whose rows already have a known shape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pareto.data.bad_rows import BadRows
from pareto.data.files import Row, read_rows
from pareto.data.sources import SOURCES


@SOURCES.register("rows", source="pareto.data.shapes; the shapes of TRL's dataset formats are among them")
def rows(path: Path, bad: BadRows) -> Iterator[Row]:
    """Read rows as they stand."""
    yield from read_rows(path, bad)
