"""Constraint queries: ``"helpful >= 0.6, max brief"`` names one measured policy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.nearest import load_record

_CONSTRAINT = re.compile(r"(?P<name>.+?)\s*(?P<sign>>=|<=)\s*(?P<bound>\S+)")
_GOAL = re.compile(r"(?P<direction>max|min)\s+(?P<name>.+)")
_FORM = "expected a query such as 'helpful >= 0.6, max brief'"


@dataclass(frozen=True)
class Constraint:
    """One bound on a measured value, in the objective's own direction and unit."""

    name: str
    sign: str
    bound: float

    def shortfall(self, values: np.ndarray) -> np.ndarray:
        """[n] >= 0: how far each value misses the bound; 0 where it is met."""
        return np.maximum(0.0, (self.bound - values) if self.sign == ">=" else (values - self.bound))

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.bound:g}"


@dataclass(frozen=True)
class Query:
    """What a policy must meet, and the objective for which the best is wanted among those that do."""

    constraints: tuple[Constraint, ...]
    goal: str


def parse_query(text: str, objectives: Objectives) -> Query:
    """Read a query: bounds and one goal, separated by commas, in any order.

    Args:
        text: ``NAME >= NUMBER``, ``NAME <= NUMBER`` and exactly one ``max NAME`` or ``min NAME``.
        objectives: of the run; the goal must be stated in the objective's own direction.

    Raises:
        UsageError: a part that cannot be read, no goal or several, a goal against the objective's direction.
        ObjectiveError: an unknown objective, with the nearest name.
    """
    constraints, goals = [], []
    for part in (p.strip() for p in text.split(",")):
        if bound := _CONSTRAINT.fullmatch(part):
            constraints.append(
                Constraint(_known(bound["name"], objectives), bound["sign"], _number(bound["bound"], part))
            )
        elif goal := _GOAL.fullmatch(part):
            goals.append((goal["direction"], _known(goal["name"], objectives)))
        else:
            raise UsageError(f"{_FORM}; cannot read {part!r} in {text!r}")
    if len(goals) != 1:
        raise UsageError(f"{_FORM} with exactly one goal; got {len(goals)} in {text!r}")
    direction, name = goals[0]
    own = objectives[objectives.index(name)].direction
    if direction != own:
        raise UsageError(
            f"objective {name!r} has direction {own!r}; write '{own} {name}', got '{direction} {name}'"
        )
    return Query(tuple(constraints), name)


def select_record(run: PolicySet, query: Query) -> PolicyRecord:
    """The measured policy that meets every bound and is best for the goal; of several, the first.

    Raises:
        UsageError: none meets them; names the nearest policy and the best that was measured of each missed objective.
    """
    if not len(run):
        raise UsageError(f"{run.folder} holds no policy to choose from")
    missed = np.stack([_missed(run, c) for c in query.constraints] or [np.zeros(len(run))])
    met = missed.sum(axis=0) == 0
    if not met.any():
        raise UsageError(_nothing_meets(run, query.constraints, missed))
    best = _oriented(run, query.goal)
    return run[int(np.argmax(np.where(met, best, -np.inf)))]


@STEERERS.register("select", source="definition: a bound on some objectives, the best of one other")
def select(run: PolicySet, weights: np.ndarray | None = None, *, at: str, **options: Any) -> Any:
    """Serve the measured policy that a constraint query names.

    Args:
        run: the policy set.
        weights: unused; the query stands in their place.
        at: the query.
        options: of the loader of its kind (device, dtype).

    Raises:
        UsageError: an unknown option, a query that cannot be read or that no measured policy meets.
    """
    return load_record(run, select_record(run, parse_query(at, run.objectives)), "select", options)


def _known(name: str, objectives: Objectives) -> str:
    name = name.strip()
    objectives.index(name)
    return name


def _number(text: str, part: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UsageError(f"{_FORM}; {text!r} in {part!r} is no finite number")
    return number


def _missed(run: PolicySet, constraint: Constraint) -> np.ndarray:
    """[n] >= 0: shortfall in units of the run's own range of that objective, so that objectives compare."""
    column = run.values[:, run.objectives.index(constraint.name)]
    return constraint.shortfall(column) / (np.ptp(column) or 1.0)


def _oriented(run: PolicySet, name: str) -> np.ndarray:
    return run.objectives.orient(run.values)[:, run.objectives.index(name)]


def _nothing_meets(run: PolicySet, constraints: Sequence[Constraint], missed: np.ndarray) -> str:
    alone = [
        f"{c} (best measured: {_extreme(run, c):.6g})"
        for c, row in zip(constraints, missed)
        if (row > 0).all()
    ]
    why = f"out of reach: {'; '.join(alone)}" if alone else "each can be met, but not together"
    near = run[int(missed.sum(axis=0).argmin())]
    values = ", ".join(f"{k}={v:.6g}" for k, v in near.values.items())
    return (
        f"none of the {len(run)} measured policies meets {', '.join(map(str, constraints))}; {why}; "
        f"nearest is policy {near.id!r} with {values}"
    )


def _extreme(run: PolicySet, constraint: Constraint) -> float:
    column = run.values[:, run.objectives.index(constraint.name)]
    return float(column.max() if constraint.sign == ">=" else column.min())
