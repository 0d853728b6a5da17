"""From a study to its cells: weights, the method's plan, and the order in which things can be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pareto import simplex
from pareto.cells import Cell
from pareto.errors import ConfigError, SimplexError
from pareto.study.config import StudyConfig
from pareto.study.measured import weights_key
from pareto.study.rounds import Round, first_round, in_rounds
from pareto.study.rows import Row


@dataclass(frozen=True)
class Plan:
    """All cells of a study in an order in which they can be done.

    Args:
        weights: objective -> number, one mapping per wanted policy and seed.
        task_needs: name -> id of the cells the task itself must make before any policy can be scored.
        cells: (cell, ids of the cells that must be done before it).
        rounds_json: the rounds in which weights were chosen, where that depends on results; else empty.
    """

    weights: tuple[Mapping[str, float], ...]
    task_needs: Mapping[str, str]
    cells: tuple[tuple[Cell, tuple[str, ...]], ...]
    rounds_json: tuple[Mapping[str, Any], ...] = ()


def plan_study(study: StudyConfig, rounds: Sequence[Round] | None = None) -> Plan:
    """Work out every cell of a study; nothing is trained.

    Args:
        study: the resolved config.
        rounds: which weights are trained together; None takes the first round, all there is before anything is known.

    Raises:
        ConfigError: weights that cannot be, or a method whose plan names a cell that it does not hold.
    """
    task: Any = study.task
    method: Any = study.method
    rounds = (first_round(study),) if rounds is None else tuple(rounds)
    weights = tuple(w for one in rounds for w in one.weights)
    _check_kind(study, weights)
    own = task.prerequisites()
    task_needs = {name: cell.id for name, cell in own.items()}
    cells: dict[str, Cell] = {}
    for cell in [*own.values(), *_in_rounds(study, rounds, method.plan(task, weights, study.seeds))]:
        before = cells.get(cell.id)
        if before is None or before.role == "prerequisite":  # wanted as a policy once is wanted as a policy
            cells[cell.id] = cell
    planned, seen = [], set[str]()
    for cell in cells.values():
        needs = set(cell.needs.values())
        if cell.role != "prerequisite":
            needs |= set(task_needs.values())
        missing = sorted(needs - seen)
        if missing:
            raise ConfigError(
                f"method {study.method_name!r} planned the cell {cell.id} before what it needs ({', '.join(missing)}); "
                "its plan must name every needed cell first"
            )
        planned.append((cell, tuple(sorted(needs))))
        seen.add(cell.id)
    told = tuple(one.to_json() for one in rounds) if in_rounds(study) else ()
    return Plan(weights, task_needs, tuple(planned), told)


def _check_kind(study: StudyConfig, weights: Sequence[Mapping[str, float]]) -> None:
    """Refuse directions for a method that takes weights, and weights for one that takes directions."""
    objectives = study.task.objectives  # type: ignore[attr-defined]  # every task has objectives
    directed = getattr(study.method, "weights_kind", "simplex") == "direction"
    for i, named in enumerate(weights):
        try:
            (simplex.check_direction if directed else simplex.check)(objectives.vector(named))
        except SimplexError as error:
            kind = (
                "unit directions (weights.kind directions, or list)" if directed else "weights on the simplex"
            )
            raise ConfigError(f"method {study.method_name!r} takes {kind}; weights {i}: {error}") from error


def _in_rounds(study: StudyConfig, rounds: Sequence[Round], cells: Sequence[Cell]) -> Iterator[Cell]:
    """The method's cells, those of later rounds started from a neighbour or stopped half-way where the study says so."""
    objectives = study.task.objectives  # type: ignore[attr-defined]  # every task has objectives
    method: Any = study.method
    config = study.weights

    def key(weights: Mapping[str, float] | None, seed: int) -> Any:
        return (weights_key(objectives.vector(weights or {})), seed)

    place = {}  # weights -> (its round, its number in it)
    for one in rounds[1:]:
        for i, w in enumerate(one.weights):
            place.setdefault(weights_key(objectives.vector(w)), (one, i))
    made: dict[Any, str] = {}
    for cell in cells:
        own = None if cell.weights is None else key(cell.weights, cell.seed)
        found = place.get(own[0]) if own is not None and cell.role == "policy" else None
        start, share = None, 1.0
        if found is not None and found[0].starts:
            one, i = found
            start, share = made[key(one.starts[i], cell.seed)], config.warm_start or 1.0
        if found is not None and config.early is not None:
            one, i = found
            at = config.early.at
            candidate = replace(method.restarted(cell, start, share * at), role="candidate")
            yield candidate
            if one.kept is None or i not in one.kept:
                continue
            cell = method.restarted(cell, candidate.id, share * (1 - at))
        elif start is not None:
            cell = method.restarted(cell, start, share)
        if own is not None and cell.role == "policy":
            made.setdefault(own, cell.id)
        yield cell


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
