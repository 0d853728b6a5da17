"""Sparsity: how wide the gaps are. Not a measure of quality."""

from __future__ import annotations

import numpy as np

from pareto.front.dominance import distinct_front
from pareto.front.indicator import Yardstick, indicator


@indicator(source="Xu et al. (2020), PGMORL, section 2", better="neither", empty=0.0)
def sparsity(points: np.ndarray, yardstick: Yardstick) -> float:
    """Sum over objectives of squared gaps between neighbours, divided by the number of points less one.

    `sparsity(values, directions=None) -> float`, over the distinct non-dominated points; 0 for fewer than two. Warning: a
    set with a single point has the best figure, and a good point far from the others worsens it, so never rank sets by it;
    gaps are taken objective by objective, which for m > 2 are not the gaps of the front.
    """
    front = distinct_front(points)
    if len(front) < 2:
        return 0.0
    return float((np.diff(np.sort(front, axis=0), axis=0) ** 2).sum() / (len(front) - 1))
