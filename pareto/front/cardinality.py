"""Cardinality: how many different trade-offs there are."""

from __future__ import annotations

import numpy as np

from pareto.front.dominance import distinct_front
from pareto.front.indicator import Yardstick, indicator


@indicator(source="Van Veldhuizen (1999), overall nondominated vector generation", better="higher", empty=0.0)
def cardinality(points: np.ndarray, yardstick: Yardstick) -> float:
    """Number of distinct non-dominated points; copies count once.

    `cardinality(values, directions=None) -> float`.
    """
    return float(len(distinct_front(points)))
