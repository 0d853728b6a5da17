"""Policies of one objective alone, and methods that only combine them: their cells are MODPO's own corners.

A study of `soup` or `mod` trains exactly what a study of `modpo` with the same settings trains at its corners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pareto.align.modpo import MODPO
from pareto.cells import Cell
from pareto.objectives import Objectives


def combining_cells(
    trainer: MODPO,
    spec: Mapping[str, Any],
    task: Any,
    weights: Sequence[Mapping[str, float]],
    seeds: Sequence[int],
) -> list[Cell]:
    """The reference, the corners (policies where they are wanted), then a cell for every weight vector between them.

    Args:
        trainer: of the corners.
        spec: of the combining cells.
        task: a `PreferenceTask`.
        weights: wanted ones.
        seeds: study seeds.
    """
    objectives: Objectives = task.objectives
    wanted = [objectives.vector(w) for w in weights]
    inner = [w for w in wanted if w.max() < 1.0]
    own = {int(w.argmax()) for w in wanted if w.max() == 1.0}
    read = sorted(own | {int(j) for w in inner for j in np.flatnonzero(w)})
    cells: list[Cell] = []
    for seed in seeds:
        corners = trainer.plan(task, [objectives.named(np.eye(len(objectives))[j]) for j in read], [seed])
        reference, *trained = corners
        cells += [] if cells else [reference]
        by_objective = {}
        for cell in trained:
            if cell.weights is not None:
                j = int(objectives.vector(cell.weights).argmax())
                by_objective[j] = cell.id
                cell = cell if j in own else replace(cell, role="prerequisite")
            cells.append(cell)
        for w in inner:
            needs = {f"corner:{objectives.names[j]}": by_objective[int(j)] for j in np.flatnonzero(w)}
            needs = {"reference": reference.id, **needs}
            cells.append(Cell("policy", "method", spec, needs, objectives.named(w), seed))
    return cells


def corner_shares(cell: Cell, needs: Mapping[str, Path]) -> list[tuple[Path, float]]:
    """(folder of a corner, its weight), of those that have one."""
    return [(needs[f"corner:{name}"], float(w)) for name, w in (cell.weights or {}).items() if w > 0]
