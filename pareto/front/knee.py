"""Knees: points of the front that one leaves only at a steep price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.front.dominance import mask
from pareto.front.gate import admit


def knee_scores(values: Any, directions: Sequence[str] | None = None) -> np.ndarray:
    """Distance of each non-dominated point beyond the hyperplane through the ends of the front.

    In units where each objective runs from 0 (nadir of the front) to 1 (ideal). The largest score is the knee; points on a
    straight front score 0, points in a dent less.

    Args:
        values: [n, m] in the objectives' own directions.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [n] float64; NaN for dominated points and for rows with NaN or infinity (`QuarantineWarning`).

    Raises:
        ShapeError: wrong shape.
    Source: Das (1999), normal-boundary intersection knees; where the ends do not span a hyperplane with positive normal,
        the one with normal (1, ..., 1) through the best end.
    """
    points = admit(values, directions=directions)
    points.warn()
    scores = np.full(len(points), np.nan)
    front = mask(points.values)
    if front.any():
        shares = _shares(points.values[front])
        ends = shares[shares.argmax(axis=0)]
        normal = np.ones(points.m)
        if np.linalg.matrix_rank(ends) == points.m:
            solved = np.linalg.solve(ends, np.ones(points.m))
            if (solved > 0).all():
                normal = solved
        offset = (ends @ normal).max()
        scores[front] = (shares @ normal - offset) / np.linalg.norm(normal)
    return points.scatter(scores, np.nan)


def knee_prices(values: Any, directions: Sequence[str] | None = None) -> np.ndarray:
    """Smallest price of leaving each non-dominated point for another: loss summed over objectives per summed gain.

    mu(x) = min_y sum_j max(0, x_j - y_j) / sum_j max(0, y_j - x_j), objectives scaled to the range of the front. Knees
    have high prices: whatever one moves to, more is lost than gained.

    Args:
        values: [n, m] in the objectives' own directions.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [n] float64; infinite for a front of one point; NaN for dominated points and for rows with NaN or infinity
        (`QuarantineWarning`).

    Raises:
        ShapeError: wrong shape.
    Source: Rachmawati and Srinivasan (2009); pymoo's high trade-off points.
    """
    points = admit(values, directions=directions)
    points.warn()
    prices = np.full(len(points), np.nan)
    front = np.flatnonzero(mask(points.values))
    if len(front):
        shares = _shares(points.values[front])
        for i, x in zip(front, shares):
            loss = np.maximum(x - shares, 0.0).sum(axis=1)
            gain = np.maximum(shares - x, 0.0).sum(axis=1)
            others = gain > 0
            prices[i] = (loss[others] / gain[others]).min(initial=np.inf)
    return points.scatter(prices, np.nan)


def _shares(front: np.ndarray) -> np.ndarray:
    """[n, m] in [0, 1]: where between nadir and ideal of the front each value lies; 0 in an objective without range."""
    nadir = front.min(axis=0)
    spread = front.max(axis=0) - nadir
    return (front - nadir) / np.where(spread > 0, spread, 1.0)
