"""Give the finished work of cells its place in the run folder. The controller alone does this."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pareto.cells import Cell
from pareto.state.atomic import move_all
from pareto.study.layout import RunFolder


def publish_cells(run: RunFolder, finished: Iterable[tuple[Cell, Mapping[str, Any]]]) -> None:
    """Move the files of cells from their scratch folders to their names; each appears whole.

    A crash half-way leaves the cells unfinished in the store: their work is done again and replaces what was moved.

    What is moved was flushed to the disk when it was written.

    Args:
        run: the run folder.
        finished: cells, and what their work reported.

    Raises:
        MachineError: the disk failed.
    """
    move_all(place for cell, result in finished for place in _places(run, cell, result))


def _places(run: RunFolder, cell: Cell, result: Mapping[str, Any]) -> Iterator[tuple[Path, Path]]:
    """(where it is, its place) of all that a cell made; each is moved before the next one is asked for."""
    scratch = run.scratch(cell.id)
    files = scratch / "fitted" / "files"
    for policy in result["policies"]:
        name = policy["id"]
        yield scratch / "scored" / f"{name}.npz", run.scores(name)
        yield scratch / "scored" / f"{name}.jsonl", run.samples(name)
        yield files / policy["folder"], run.policy(name)
    left = run.prerequisite(cell.id)
    if files.is_dir() and (cell.role == "prerequisite" or any(files.iterdir())):
        yield files, left
    elif left.exists():  # made before for another role
        shutil.rmtree(left)
    if (scratch / "metrics.jsonl").exists():
        yield scratch / "metrics.jsonl", run.metrics(cell.id)


def clear_scratch(run: RunFolder, cells: Iterable[Cell]) -> None:
    """Delete the work in progress of committed cells, several at a time: some disks take milliseconds over a folder."""
    with ThreadPoolExecutor(8) as pool:
        folders = [run.scratch(cell.id) for cell in cells]
        list(pool.map(lambda folder: shutil.rmtree(folder, ignore_errors=True), folders))
