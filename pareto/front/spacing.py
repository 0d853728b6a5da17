"""Spacing: how unevenly the points are spread. Not a measure of quality."""

from __future__ import annotations

import numpy as np

from pareto.front.dominance import distinct_front
from pareto.front.indicator import Yardstick, indicator


@indicator(source="Schott (1995), spacing metric", better="neither", empty=0.0)
def spacing(points: np.ndarray, yardstick: Yardstick) -> float:
    """Standard deviation (n - 1) of each point's L1 distance to its nearest neighbour; 0 for an even spread.

    `spacing(values, directions=None) -> float`, over the distinct non-dominated points; 0 for fewer than three. Warning: an
    even spread over a poor front, or two points, read as well as an even spread over the best one: never rank sets by it.
    """
    front = distinct_front(points)
    if len(front) < 3:
        return 0.0
    nearest = np.array(
        [np.delete(np.abs(front - point).sum(axis=1), i).min() for i, point in enumerate(front)]
    )
    return float(nearest.std(ddof=1))
