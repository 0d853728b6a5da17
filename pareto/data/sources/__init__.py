"""Readers that turn a file of some origin into rows of a known shape (`pareto.data.shapes`).

A source is a function `(path, bad) -> iterator of (line number, columns)`. Adding one is adding a file here that
registers it; a task or `pareto data check --source` then names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pareto.data.bad_rows import BadRows
from pareto.data.files import Row
from pareto.registry import Registry

Source = Callable[[Path, BadRows], Iterator[Row]]

SOURCES: Registry[Source] = Registry("source", "pareto.data.sources")
