"""Runs against each other seed by seed: tests, probability of improvement, and where one attains more often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pareto.front import (
    attainment_difference,
    compare_methods,
    probability_of_improvement,
    seed_interval,
)
from pareto.report.measuring import objectives_of, oriented
from pareto.report.seeds import by_seed
from pareto.report.tree import AttainmentDifference, Pairing, RunReport

MOST_RECTANGLES = 1500
"""Above so many rectangles a picture of where runs differ would be heavier than the rest of the page."""


def pairings(runs: Sequence[RunReport], volumes: Sequence[Sequence[float]]) -> list[Pairing]:
    """Compare every two of the runs that have two and more seeds in common with all others of them.

    Args:
        runs: the runs.
        volumes: hypervolume of each of their seeds, seeds ascending, against one reference point.
    """
    held = [dict(zip(by_seed(run.policies), found)) for run, found in zip(runs, volumes)]
    several = [r for r, seeds in enumerate(held) if len(seeds) > 1]
    shared = sorted(set.intersection(*(set(held[r]) for r in several))) if several else []
    if len(several) < 2 or len(shared) < 2:
        return []
    figures = {str(r): [held[r][seed] for seed in shared] for r in several}
    made = []
    for pair in compare_methods(figures):
        a, b = int(pair.first), int(pair.second)
        chance = seed_interval(probability_of_improvement, figures[pair.first], figures[pair.second])
        made.append(
            Pairing(
                first=a,
                second=b,
                seeds=len(shared),
                difference=pair.difference,
                difference_ci95=(pair.low, pair.high),
                p=pair.p,
                p_holm=pair.p_holm,
                improvement=chance.value,
                improvement_ci95=(chance.low, chance.high),
            )
        )
    return made


def attainment_differences(runs: Sequence[RunReport], ref: np.ndarray) -> list[AttainmentDifference]:
    """Where the first run attains more often than each other one, two objectives; empty otherwise.

    Args:
        runs: the runs, on the same objectives.
        ref: [2] oriented reference point, below which nothing is drawn.
    """
    objectives = objectives_of(runs[0])
    if len(objectives) != 2 or not all(run.policies for run in runs):
        return []
    sets = [[oriented(run)[rows] for rows in by_seed(run.policies).values()] for run in runs]
    made = []
    for r in range(1, len(runs)):
        found = attainment_difference(sets[0], sets[r])
        low, high = np.maximum(found[:, :2], ref), np.maximum(found[:, 2:4], ref)
        seen = (high > low).all(axis=1)
        corners = np.stack([low, high], axis=1)[seen]
        turned = objectives.orient(corners.reshape(-1, 2)).reshape(-1, 2, 2)
        rectangles = np.column_stack([turned.min(axis=1), turned.max(axis=1), found[seen, 4]])
        if 0 < len(rectangles) <= MOST_RECTANGLES:
            made.append(AttainmentDifference(r, rectangles.tolist()))
    return made
