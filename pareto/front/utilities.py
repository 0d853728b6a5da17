"""Users: functions from oriented points to how much each user likes each point."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.errors import ShapeError
from pareto.front.indicator import Utilities
from pareto.simplex import check


def linear_utilities(weights: Any) -> Utilities:
    """K users who value a sum: u_w(v) = w.v.

    Args:
        weights: [k, m] on the simplex.

    Raises:
        SimplexError: weights that are not.
    """
    w = np.atleast_2d(check(weights))
    return lambda points: w @ points.T


def chebyshev_utilities(weights: Any, aim: Any, rho: float = 0.0) -> Utilities:
    """K users who value what falls shortest: u_w(v) = min_j w_j (v_j - aim_j) + rho sum_j w_j (v_j - aim_j).

    With them the best point need not lie on the convex hull.

    Args:
        weights: [k, m] on the simplex.
        aim: [m], oriented: an ideal that is not reached, or a floor that is passed.
        rho: >= 0, augmentation; a small one rules out points that are only weakly non-dominated.

    Raises:
        SimplexError: weights that are not on the simplex.
        ShapeError: an aim of another length.
    Source: Bowman (1976); Steuer and Choo (1983) for the augmentation; turned to maximisation.
    """
    w = np.atleast_2d(check(weights))
    z = np.asarray(aim, dtype=np.float64)
    if z.shape != w.shape[1:]:
        raise ShapeError(f"aim needs {w.shape[1]} numbers, one per objective; got shape {list(z.shape)}")

    def utilities(points: np.ndarray) -> np.ndarray:
        gains = points - z
        worst = worst_gain(w, gains)
        return worst + rho * (w @ gains.T) if rho else worst

    return utilities


def worst_gain(weights: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """[k, n]: min over objectives of weights [k, m] times gains [n, m]; never holds [k, n, m]."""
    worst = np.outer(weights[:, 0], gains[:, 0])
    for j in range(1, gains.shape[1]):
        np.minimum(worst, np.outer(weights[:, j], gains[:, j]), out=worst)
    return worst
