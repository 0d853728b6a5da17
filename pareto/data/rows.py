"""Read preference files into columns: `read_preferences`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pareto.data.bad_rows import BadRows, OnBad, RowError
from pareto.data.collect import Collector
from pareto.data.preferences import Band, Preferences
from pareto.data.shapes import read_shape
from pareto.data.sources import SOURCES
from pareto.errors import DataError


@dataclass(frozen=True)
class ReadRule:
    """How files become pairs.

    Args:
        source: registered reader of the files (`pareto.data.sources`).
        columns: our column name -> the name it has in the file.
        objectives: the only objectives to read, or None for all that are there.
        bands: objective -> how far two scores must lie apart for one response to win; exact where not given.
        pairs_per_prompt: scored responses are paired each with each; at most this many pairs of a prompt are kept,
            drawn by a generator that depends on the prompt alone.
        on_bad: "stop" at the first row that cannot be read, or "skip" it.
        max_bad: with "skip", the largest accepted share of such rows.
        spool_bytes: texts of files of more bytes than this in all stay on the disk, where a folder is given for them.
    """

    source: str = "rows"
    columns: Mapping[str, str] = field(default_factory=dict)
    objectives: tuple[str, ...] | None = None
    bands: Mapping[str, Band] = field(default_factory=dict)
    pairs_per_prompt: int | None = None
    on_bad: OnBad = "stop"
    max_bad: float = 0.001
    spool_bytes: int = 2**30


@dataclass(frozen=True)
class ReadCounts:
    """What was seen while reading.

    Args:
        rows: rows seen, bad ones included.
        shapes: row shape -> rows.
        bad: rows left out.
        bad_reasons: reason -> rows.
        bad_examples: the first few, word for word.
        repeated: labels that say again what an earlier row said of the same pair.
        contradicted: labels that say the opposite.
        doubled_ids: rows whose `id` another row had.
        equal_responses: pairs of scored responses left out because both are the same text.
    """

    rows: int
    shapes: Mapping[str, int]
    bad: int
    bad_reasons: Mapping[str, int]
    bad_examples: Sequence[str]
    repeated: int
    contradicted: int
    doubled_ids: int
    equal_responses: int


def read_preferences(
    paths: Iterable[Path], rule: ReadRule | None = None, spool: Path | None = None
) -> tuple[Preferences, ReadCounts]:
    """Read preference rows of any shape, mixed as they come, into one table of pairs.

    Rows that speak of the same two responses under different objectives fill one pair, unless their weight, margin,
    user or group differ; a second opinion under the same objective is a pair of its own. Memory grows with the
    distinct texts and the pairs, never with row objects; of large files with the number of texts, not their length.

    Args:
        paths: files, read in order.
        rule: how; the default reads every shape of row and stops at the first bad one.
        spool: a folder where the texts of large files may lie (what is in it is replaced); they are read from there as
            long as the result lives.

    Returns:
        The table, and what was counted on the way.

    Raises:
        DataError: no file, a broken file, a bad row, too many bad rows, no usable row.
        ObjectiveError: an objective asked for is nowhere in the data.
    """
    rule = rule or ReadRule()
    source = SOURCES.get(rule.source)
    ours = {theirs: name for name, theirs in rule.columns.items()}
    bad = BadRows(rule.on_bad, rule.max_bad)
    files = _existing(paths)
    large = sum(path.stat().st_size for path in files if path.is_file()) > rule.spool_bytes
    table = Collector(rule.objectives, _emptied(spool) if spool is not None and large else None)
    n_read = 0
    for path in files:
        n_before = n_read + bad.n
        for line, row in source(path, bad):
            try:
                shape, said = read_shape({ours.get(k, k): v for k, v in row.items()} if ours else row)
                table.add(shape, said)
                n_read += 1
            except RowError as error:
                bad.add(path, line, str(error))
        if n_read + bad.n == n_before:
            raise DataError(f"{path}: the file holds no rows")
    bad.check(n_read + bad.n)
    preferences = table.finish(rule.bands, rule.pairs_per_prompt)
    counts = ReadCounts(
        rows=n_read + bad.n,
        shapes=dict(table.shapes),
        bad=bad.n,
        bad_reasons=dict(bad.reasons),
        bad_examples=tuple(bad.examples),
        repeated=table.repeated,
        contradicted=table.contradicted,
        doubled_ids=table.doubled_ids,
        equal_responses=table.equal_responses,
    )
    return preferences, counts


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _existing(paths: Iterable[Path]) -> list[Path]:
    files = [Path(p) for p in paths]
    if not files:
        raise DataError("at least one data file is needed; got none")
    return files
