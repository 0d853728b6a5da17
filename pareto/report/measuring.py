"""What runs are measured by: values and unit scores turned alike, hypervolume seed by seed, intervals over units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pareto.front import indicator_interval
from pareto.objectives import Objective, Objectives
from pareto.report.reading import UnitScores
from pareto.report.seeds import volume
from pareto.report.tree import Interval, RunReport

MOST_POINTS, FEW_POINTS = 400, 40
"""Most policies whose hypervolume is resampled here, up to four objectives and above: beyond, it takes minutes."""

RESAMPLES = 200
"""Enough for the ends of an interval to stand within a few hundredths of its width."""


def objectives_of(run: RunReport) -> Objectives:
    """The run's objectives as the type that knows directions."""
    return Objectives(Objective(o.name, o.direction, o.unit) for o in run.objectives)  # type: ignore[arg-type]


def oriented(run: RunReport) -> np.ndarray:
    """[n, m] values of all policies, larger is better."""
    values = np.array([p.values for p in run.policies]).reshape(-1, len(run.objectives))
    return objectives_of(run).orient(values)


def mean_volume(values: np.ndarray, groups: Sequence[Sequence[int]], ref: np.ndarray) -> float:
    """Mean over seeds of each seed's own hypervolume: fronts of several seeds are never pooled.

    Args:
        values: [n, m], larger is better.
        groups: rows of each seed.
        ref: [m] oriented.
    """
    volumes = [volume(values[list(rows)], ref) for rows in groups]
    return float(np.mean(volumes)) if volumes else 0.0


def bootstrappable(n: int, m: int) -> bool:
    """Whether hypervolumes of so many policies can be resampled while people wait."""
    return n <= (MOST_POINTS if m <= 4 else FEW_POINTS)


def interval(
    units: UnitScores | None, figure: Callable[[np.ndarray], float], resamples: int = RESAMPLES
) -> Interval | None:
    """Interval of a figure of the policies' mean values, by paired bootstrap over units.

    Args:
        units: oriented scores [n, n_units, m] on the same units; None where there are none.
        figure: oriented means [n, m] -> number.
        resamples: number of resamples.

    Returns:
        None without scores, with a single unit, or with too many policies.
    """
    if units is None or units.values.shape[1] < 2:
        return None
    if not bootstrappable(len(units.values), units.values.shape[2]):
        return None
    made = indicator_interval(units.values, figure, resamples=resamples)
    return (made.low, made.high) if np.isfinite([made.low, made.high]).all() else None


def unit_scores(run: RunReport, scores: Mapping[str, UnitScores]) -> UnitScores | None:
    """Oriented scores of all policies on the same units, [n, n_units, m].

    None where they are not all there, or are not the scores whose means front.json holds.
    """
    held = [scores.get(p.id) for p in run.policies]
    known = [s for s in held if s is not None]
    if not known or len(known) < len(held):
        return None
    ids = known[0].unit_ids
    if any(not np.array_equal(s.unit_ids, ids) or not np.isfinite(s.values).all() for s in known):
        return None
    stacked = np.array([s.values for s in known])
    if not np.allclose(stacked.mean(axis=1), [p.values for p in run.policies], rtol=1e-6, atol=1e-9):
        return None
    return UnitScores(objectives_of(run).orient(stacked), ids)


def together(units: Sequence[UnitScores | None], r: int) -> UnitScores | None:
    """Scores of the first run's policies and then of run `r`'s, [n + n_r, n_units, m]; None without the same units."""
    a, b = units[0], units[r]
    if r == 0 or a is None or b is None or not np.array_equal(a.unit_ids, b.unit_ids):
        return None
    return UnitScores(np.concatenate([a.values, b.values]), a.unit_ids)
