"""Where a sweep stands, read from its store while it works or afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pareto.cells import Cost
from pareto.study.front_json import cost_block, failed_block
from pareto.study.layout import RunFolder
from pareto.study.plan import weights_text
from pareto.study.store import Store


@dataclass(frozen=True)
class RunningCell:
    """A cell somebody works on.

    Args:
        id: the cell.
        weights: as text.
        attempt: which attempt this is.
        silent_s: seconds since its last sign of life.
    """

    id: str
    weights: str
    attempt: int
    silent_s: float


@dataclass(frozen=True)
class SweepStatus:
    """Where a sweep stands.

    Args:
        counts: status -> number of cells of the present plan.
        running: cells at work.
        failed: cell and reason, those that wait for a failed one included.
        cost: what was spent so far on finished cells and on lost attempts.
        complete: whether the folder's manifest is written, so that everything else can be read.
    """

    counts: dict[str, int]
    running: tuple[RunningCell, ...]
    failed: tuple[dict[str, str], ...]
    cost: Cost
    complete: bool


def sweep_status(folder: Path | str, clock: Callable[[], float] = time.time) -> SweepStatus:
    """Read where the sweep in a folder stands; nothing is changed.

    Args:
        folder: the run folder.
        clock: seconds since the epoch.

    Raises:
        ArtifactError: no sweep was started there.
    """
    run = RunFolder(Path(folder))
    with Store(run.store) as store:
        rows = store.rows()
        blocked = store.blocked()
    counts = Counter[str](row.status for row in rows)
    now = clock()
    return SweepStatus(
        counts={name: counts[name] for name in ("pending", "running", "done", "failed")},
        running=tuple(
            RunningCell(
                row.cell.id,
                weights_text(row.cell.weights),
                row.attempts,
                max(0.0, now - (row.heartbeat or now)),
            )
            for row in rows
            if row.status == "running"
        ),
        failed=tuple(failed_block(rows, blocked)),
        cost=Cost(**cost_block(rows)),
        complete=run.manifest.is_file(),
    )
