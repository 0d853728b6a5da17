"""From a study to its cells: weights, the method's plan, and the order in which things can be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pareto.cells import Cell
from pareto.errors import ConfigError
from pareto.study.config import StudyConfig
from pareto.study.store import Row
from pareto.study.weights import WEIGHTS


@dataclass(frozen=True)
class Plan:
    """All cells of a study in an order in which they can be done.

    Args:
        weights: objective -> number, one mapping per wanted policy and seed.
        task_needs: name -> id of the cells the task itself must make before any policy can be scored.
        cells: (cell, ids of the cells that must be done before it).
    """

    weights: tuple[Mapping[str, float], ...]
    task_needs: Mapping[str, str]
    cells: tuple[tuple[Cell, tuple[str, ...]], ...]


def plan_study(study: StudyConfig) -> Plan:
    """Work out every cell of a study; nothing is trained.

    Args:
        study: the resolved config.

    Raises:
        ConfigError: weights that cannot be, or a method whose plan names a cell that it does not hold.
    """
    task: Any = study.task
    method: Any = study.method
    weights = study_weights(study)
    own = task.prerequisites()
    task_needs = {name: cell.id for name, cell in own.items()}
    cells: dict[str, Cell] = {}
    for cell in [*own.values(), *method.plan(task, weights, study.seeds)]:
        before = cells.get(cell.id)
        if before is None or before.role == "prerequisite":  # wanted as a policy once is wanted as a policy
            cells[cell.id] = cell
    planned, seen = [], set[str]()
    for cell in cells.values():
        needs = set(cell.needs.values())
        if cell.role == "policy":
            needs |= set(task_needs.values())
        missing = sorted(needs - seen)
        if missing:
            raise ConfigError(
                f"method {study.method_name!r} planned the cell {cell.id} before what it needs ({', '.join(missing)}); "
                "its plan must name every needed cell first"
            )
        planned.append((cell, tuple(sorted(needs))))
        seen.add(cell.id)
    return Plan(weights, task_needs, tuple(planned))


def study_weights(study: StudyConfig) -> tuple[Mapping[str, float], ...]:
    """The weights of a study, named, in plan order.

    Raises:
        ConfigError: an unknown kind, or a size the kind cannot have.
    """
    kind = study.weights.kind
    if not kind.isidentifier():
        raise ConfigError(
            f"weights.kind must be one of {', '.join(WEIGHTS.names())}; got {kind!r:.80}; correct the name"
        )
    objectives = study.task.objectives  # type: ignore[attr-defined]  # every task has objectives
    return tuple(objectives.named(row) for row in WEIGHTS.get(kind)(objectives, study.weights))


def plan_table(plan: Plan, rows: Sequence[Row] = ()) -> list[dict[str, str]]:
    """The plan as text, one mapping of columns per cell, with the state of each where a store knows it.

    Args:
        plan: the plan.
        rows: what the store knows; empty when there is none yet.
    """
    known = {row.cell.id: row for row in rows}
    names = {cell_id: name for name, cell_id in plan.task_needs.items()}
    table = []
    for cell, needs in plan.cells:
        row = known.get(cell.id)
        table.append(
            {
                "cell": cell.id,
                "role": cell.role,
                "made by": f"task: {names[cell.id]}" if cell.id in names else cell.maker,
                "weights": weights_text(cell.weights),
                "seed": str(cell.seed),
                "needs": " ".join(needs) or "-",
                "state": row.status if row else "pending",
            }
        )
    return table


def weights_text(weights: Mapping[str, float] | None) -> str:
    """Weights as people write them on the command line; "-" for none."""
    return ",".join(f"{name}={value:.4g}" for name, value in weights.items()) if weights else "-"
