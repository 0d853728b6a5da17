"""Hypervolume against cost: what the first jobs of a run reach, in the order in which they were planned."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pareto.report.measuring import interval, mean_volume, oriented
from pareto.report.reading import UnitScores
from pareto.report.tree import Growth, Held, PolicyRow, RunReport

COSTS = ("train_tokens", "env_steps", "generated_tokens", "wall_s")
"""What is counted as cost: the first of these that was spent."""

STEPS, RESAMPLES = 8, 100
"""Most points of one curve, and resamples behind its band: more would cost time and show nothing."""

_CELL = re.compile(r"[0-9a-f]{12}(?=-)")

Jobs = list[list[list[int]]]
"""Seed -> job -> rows of the policies that the job made; jobs in the order in which they were planned."""


def job_of(policy_id: str) -> str:
    """The job that made a policy: where one job makes a whole set, its policies' ids begin with the job's."""
    found = _CELL.match(policy_id)
    return found.group() if found else policy_id


def jobs(policies: Sequence[PolicyRow]) -> Jobs:
    """Group policies by seed and by the job that made them."""
    seeds: dict[int, dict[str, list[int]]] = {}
    for i, policy in enumerate(policies):
        seeds.setdefault(policy.seed or 0, {}).setdefault(job_of(policy.id), []).append(i)
    return [list(made.values()) for _, made in sorted(seeds.items())]


def spent(run: RunReport, unit: str) -> np.ndarray:
    """[k]: what the first 1, 2, ... k jobs of every seed had cost together, prerequisites paid first.

    Where the cost of single jobs is not known, all count alike.
    """
    made = jobs(run.policies)
    most = max((len(seed) for seed in made), default=0)
    total = float(run.cost.get(unit) or 0)
    own = [[_cost(run.policies[rows[0]], unit) for rows in seed] for seed in made]
    known = [cost for seed in own for cost in seed if cost is not None]
    count = sum(len(seed) for seed in own)
    if len(known) < count or not 0 < sum(known) <= total * (1 + 1e-9):
        own = [[total / max(count, 1)] * len(seed) for seed in own]
        known = [total]
    each = np.array([sum(seed[k] or 0.0 for seed in own if k < len(seed)) for k in range(most)])
    return max(total - sum(known), 0.0) + each.cumsum()


def hold(
    run: RunReport,
    units: UnitScores | None,
    ref: np.ndarray,
    groups: Sequence[Sequence[int]],
    resamples: int = 200,
) -> Held:
    """Measure some of a run's policies alone.

    Args:
        run: the run.
        units: its oriented scores per unit, or None.
        ref: [m] oriented reference point.
        groups: the rows that count, seed by seed.
        resamples: behind the interval.
    """
    return Held(
        policies=sum(len(rows) for rows in groups),
        hypervolume=mean_volume(oriented(run), groups, ref),
        ci95=interval(units, lambda values: mean_volume(values, groups, ref), resamples),
    )


def first(made: Jobs, k: int) -> list[list[int]]:
    """Rows of the first k jobs of every seed."""
    return [[i for rows in seed[:k] for i in rows] for seed in made]


def within(
    run: RunReport, units: UnitScores | None, ref: np.ndarray, unit: str, budget: float
) -> Held | None:
    """What a run reaches with the jobs that a budget pays for; None where it pays for none."""
    paid = int((spent(run, unit) <= budget * (1 + 1e-9)).sum())
    return hold(run, units, ref, first(jobs(run.policies), paid)) if paid else None


def growth(
    run: RunReport, units: UnitScores | None, ref: np.ndarray, unit: str | None = None
) -> Growth | None:
    """The curve of hypervolume against cost; None where one job made everything, or no cost is known.

    Args:
        run: the run.
        units: its oriented scores per unit, for the band, or None.
        ref: [m] oriented reference point.
        unit: the cost to count; None takes the first of COSTS that was spent.
    """
    unit = unit or next((name for name in COSTS if (run.cost.get(name) or 0) > 0), None)
    made = jobs(run.policies)
    most = max((len(seed) for seed in made), default=0)
    if unit is None or most < 2:
        return None
    steps = np.unique(np.linspace(1, most, min(most, STEPS)).round().astype(int))
    costs = spent(run, unit)
    return Growth(
        cost_unit=unit,
        costs=[float(costs[k - 1]) for k in steps],
        steps=[hold(run, units, ref, first(made, k), RESAMPLES) for k in steps],
    )


def _cost(policy: PolicyRow, unit: str) -> float | None:
    return policy.cost if policy.cost_unit == unit else None
