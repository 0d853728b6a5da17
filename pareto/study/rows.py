"""What the store's table of cells says, checked as it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pareto.cells import Cell, digest
from pareto.errors import ArtifactError

Status = Literal["pending", "running", "done", "failed"]


@dataclass(frozen=True)
class Claim:
    """A cell to work on, and which attempt this is."""

    cell: Cell
    attempt: int


@dataclass(frozen=True)
class Row:
    """What the store knows about one cell.

    Args:
        cell: the cell, with the role it has in the present plan.
        status: "pending", "running", "done" or "failed".
        attempts: how often it was claimed.
        failure: the last error: type, message, traceback; None without one.
        result: what the work reported; None until it is done.
        wasted_tokens: tokens of killed attempts that had to be done again.
        wasted_steps: environment steps of the same kind.
        lost_s: wall time of attempts that did not finish.
        heartbeat: seconds since the epoch of the last sign of life, or None.
        foreign: it belongs to the plan of another method of the folder, and nobody claims it here.
    """

    cell: Cell
    status: Status
    attempts: int
    failure: dict[str, Any] | None
    result: dict[str, Any] | None
    wasted_tokens: int
    wasted_steps: int
    lost_s: float
    heartbeat: float | None
    foreign: bool = False


def parsed(text: Any, what: str, store: Path) -> Any:
    """What one value of the store says.

    Raises:
        ArtifactError: it is not what was written.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{store}: {what} is not readable as JSON: {error}") from None


def read_cell(row: Mapping[str, Any], store: Path) -> Cell:
    """The cell of a row of the table.

    Raises:
        ArtifactError: it does not have the id it is stored under, or is no cell at all.
    """
    try:
        cell = Cell.from_json(parsed(row["cell"], f"cell {row['id']}", store))
    except TypeError as error:
        raise ArtifactError(f"{store}: cell {row['id']} was changed: {error}") from None
    if cell.id != row["id"]:
        raise ArtifactError(f"{store}: cell {row['id']} was changed: what it is to do has the id {cell.id}")
    return cell


def read_row(row: Mapping[str, Any], store: Path) -> Row:
    """What the store knows about one cell.

    Raises:
        ArtifactError: the cell or its result does not have the digest that stands beside it.
    """
    name = f"cell {row['id']}"
    result = row["result"] and parsed(row["result"], f"the result of {name}", store)
    if result is not None and digest(result) != row["result_sha256"]:
        raise ArtifactError(f"{store}: the result of {name} does not have its stated sha256")
    failure = row["failure"] and parsed(row["failure"], f"the failure of {name}", store)
    failed = row["status"] == "failed"
    try:
        open_tokens = (row["spent_tokens"] or 0) + (row["carried_tokens"] or 0)
        open_steps = (row["spent_steps"] or 0) + (row["carried_steps"] or 0)
        return Row(
            cell=read_cell(row, store),
            status=row["status"],
            attempts=row["attempts"],
            failure=failure,
            result=result,
            wasted_tokens=row["wasted_tokens"] + (open_tokens if failed else 0),
            wasted_steps=row["wasted_steps"] + (open_steps if failed else 0),
            lost_s=row["lost_s"],
            heartbeat=row["heartbeat"],
            foreign=row["position"] is not None and row["position"] < 0,
        )
    except TypeError as error:
        raise ArtifactError(f"{store}: {name} was changed: {error}") from None
