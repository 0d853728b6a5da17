"""Hypervolume: the volume of what a set dominates above a reference point, and what each point adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.front import engines
from pareto.front.approximation import approximate_volume, expected_seconds
from pareto.front.dominance import distinct_front
from pareto.front.gate import admit, reference
from pareto.front.indicator import Yardstick, finite, indicator, survey, warn_outside
from pareto.front.quadrature import Estimate


def _effective(points: np.ndarray, yardstick: Yardstick) -> np.ndarray:
    """[k, m]: the distinct non-dominated points inside the reference point."""
    return distinct_front(points[(points > yardstick.ref_point).all(axis=1)])


def _expected_seconds(points: np.ndarray, yardstick: Yardstick) -> float:
    n, m = points.shape
    return 0.0 if expected_seconds(n, m) < 1 else expected_seconds(len(_effective(points, yardstick)), m)


def _approximate(points: np.ndarray, yardstick: Yardstick) -> Estimate:
    assert yardstick.ref_point is not None
    return approximate_volume(_effective(points, yardstick), yardstick.ref_point)


@indicator(
    source="Zitzler and Thiele (1998); exact algorithms of moocore (Guerreiro and Fonseca 2017) and pygmo (WFG)",
    better="higher",
    empty=0.0,
    needs=("ref_point",),
    cost_s=_expected_seconds,
    approximate=_approximate,
)
def hypervolume(points: np.ndarray, yardstick: Yardstick) -> float:
    """Volume dominated by the points and bounded by the reference point, exact for every m.

    `hypervolume(values, ref_point, directions=None) -> float`. Points that do not beat the reference point in every
    objective add nothing and are counted in an `OutsideReferenceWarning`; rows with NaN or infinity are set aside and
    named in a `QuarantineWarning`; copies and dominated points add nothing; the empty set has 0. Many points in six and
    more objectives can take hours: `hypervolume_estimate` keeps to a budget.
    """
    assert yardstick.ref_point is not None
    return engines.volume(points, yardstick.ref_point)


def hypervolume_estimate(
    values: Any, ref_point: Any, budget_s: float = 10.0, directions: Sequence[str] | None = None
) -> Estimate:
    """Hypervolume, exact if that is expected to fit the budget, else approximate with a stated error.

    The decision rests on n, m and the engine at hand, never on a clock, so that the same input gives the same figure.

    Args:
        values: [n, m] in the objectives' own directions; numpy, pandas, torch or lists.
        ref_point: [m] or one number, in the objectives' own directions.
        budget_s: seconds that the exact computation may be expected to take; below 0 the figure is always approximate.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        Estimate: error 0 and method "exact", or a 95 % bound on the error.

    Raises:
        ShapeError: wrong shapes.
        UsageError: the reference point is not finite.
        NumericsError: the volume overflows float64.
    """
    points, yardstick = survey(values, ref_point=ref_point, directions=directions)
    points.warn()
    warn_outside(points, yardstick.ref_point)
    inside = _effective(points.values, yardstick) if len(points) else points.values
    if len(inside) == 0:
        return Estimate(0.0, 0.0, "exact")
    if points.m == 1 or _expected_seconds(points.values, yardstick) <= budget_s:
        return Estimate(finite(float(hypervolume.measure(inside, yardstick)), "hypervolume"), 0.0, "exact")
    figure = _approximate(inside, yardstick)
    finite(figure.value, "hypervolume")
    return figure


def hypervolume_contributions(
    values: Any, ref_point: Any, directions: Sequence[str] | None = None
) -> np.ndarray:
    """Volume that is lost when one point alone is taken away: HV(all) - HV(all without it).

    Args:
        values: [n, m] in the objectives' own directions; numpy, pandas, torch or lists.
        ref_point: [m] or one number, in the objectives' own directions.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [n] float64 >= 0; exactly 0 for dominated points, for every copy of a doubled point, for points that do not beat
        the reference point in every objective, and for rows with NaN or infinity (named by a `QuarantineWarning`). A
        dominated point still counts as present: where it lies behind one point only, it lessens that point's loss.

    Raises:
        ShapeError: wrong shapes.
        UsageError: the reference point is not finite.
        NumericsError: a contribution overflows float64.
    """
    points = admit(values, directions=directions)
    points.warn()
    m = np.size(ref_point) if len(points.kept) == 0 else points.m
    ref = reference(ref_point, m, directions)
    if len(points) == 0:
        return np.zeros(len(points.kept))
    warn_outside(points, ref)
    contributions = engines.contributions(points.values, ref)
    finite(float(contributions.sum()), "a hypervolume contribution")
    return points.scatter(contributions, 0.0)
