"""What repeats: one front per seed, each against the same reference point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pareto.front import attainment_surfaces, engines, hypervolume_estimate, interquartile_mean, seed_interval
from pareto.objectives import Objectives
from pareto.report.tree import PolicyRow, SeedRow, Seeds, Surface

FEW = 4
"""Up to so many objectives the exact hypervolume of any report's policies is a matter of milliseconds."""

SHARES = (0.25, 0.5, 0.75)
"""The attainment surfaces drawn: quartiles over seeds, as in the attainment literature."""


def by_seed(policies: Sequence[PolicyRow]) -> dict[int, list[int]]:
    """Places of each seed's policies, seeds ascending; a policy without a seed counts as seed 0."""
    groups: dict[int, list[int]] = {}
    for i, policy in enumerate(policies):
        groups.setdefault(policy.seed or 0, []).append(i)
    return dict(sorted(groups.items()))


def volume(oriented: np.ndarray, ref_point: np.ndarray) -> float:
    """Hypervolume of oriented finite points [n, m]; approximate only where the exact one would take very long.

    Points not better than the reference point add nothing. They are left out first, because a report counts them once
    and itself, and need not be warned of them at every call.
    """
    inside = oriented[(oriented > ref_point).all(axis=1)]
    if len(inside) == 0:
        return 0.0
    if inside.shape[1] <= FEW:  # straight to the engine: resampling asks thousands of times
        return float(engines.volume(inside, ref_point))
    return hypervolume_estimate(inside, ref_point).value


def across_seeds(
    objectives: Objectives, policies: Sequence[PolicyRow], ref_point: Sequence[float] | None
) -> Seeds | None:
    """Hypervolume seed by seed, its interquartile mean and attainment surfaces; None for a single seed.

    Args:
        objectives: the run's objectives.
        policies: its policies.
        ref_point: [m] in the objectives' own directions; None leaves hypervolumes unknown and so gives None.
    """
    groups = by_seed(policies)
    if len(groups) < 2 or ref_point is None:
        return None
    values, ref = objectives.orient([p.values for p in policies]), objectives.orient(ref_point)
    rows = [SeedRow(seed, len(places), volume(values[places], ref)) for seed, places in groups.items()]
    middle = seed_interval(interquartile_mean, [row.hypervolume for row in rows])
    return Seeds(
        rows=rows,
        interquartile_mean=middle.value,
        interquartile_mean_ci95=(middle.low, middle.high),
        surfaces=_surfaces(objectives, [values[places] for places in groups.values()]),
    )


def _surfaces(objectives: Objectives, oriented: Sequence[np.ndarray]) -> list[Surface]:
    """Quartile attainment surfaces of two objectives; one where several quartiles ask for the same number of seeds."""
    if len(objectives) != 2:
        return []
    needed = sorted({int(np.ceil(share * len(oriented) - 1e-9)) for share in SHARES})
    levels = [k / len(oriented) for k in needed]
    found = attainment_surfaces(oriented, levels)
    return [
        Surface(k, objectives.orient(found[level]).tolist())
        for k, level in zip(needed, levels)
        if len(found[level])
    ]
