"""Give a cell's finished work its place in the run folder. The controller alone does this."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from pareto.cells import Cell
from pareto.state.atomic import move
from pareto.study.layout import RunFolder


def publish_cell(run: RunFolder, cell: Cell, result: Mapping[str, Any]) -> None:
    """Move a cell's files from its scratch folder to their names; each appears whole.

    A crash half-way leaves the cell unfinished in the store: its work is done again and replaces what was moved.

    What is moved was flushed to the disk when it was written.

    Args:
        run: the run folder.
        cell: the finished cell.
        result: what its work reported.

    Raises:
        MachineError: the disk failed.
    """
    scratch = run.scratch(cell.id)
    files = scratch / "fitted" / "files"
    for policy in result["policies"]:
        name = policy["id"]
        move(scratch / "scored" / f"{name}.npz", run.scores(name))
        move(scratch / "scored" / f"{name}.jsonl", run.samples(name))
        move(files / policy["folder"], run.policy(name))
    left = run.prerequisite(cell.id)
    if files.is_dir() and (cell.role == "prerequisite" or any(files.iterdir())):
        move(files, left)
    elif left.exists():  # made before for another role
        shutil.rmtree(left)
    if (scratch / "metrics.jsonl").exists():
        move(scratch / "metrics.jsonl", run.metrics(cell.id))


def clear_scratch(run: RunFolder, cell: Cell) -> None:
    """Delete a committed cell's work in progress."""
    shutil.rmtree(run.scratch(cell.id), ignore_errors=True)
