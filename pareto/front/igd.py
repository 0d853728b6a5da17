"""Inverted generational distance."""

from __future__ import annotations

import moocore
import numpy as np

from pareto.front.indicator import Yardstick, indicator


@indicator(
    source="Coello Coello and Reyes Sierra (2004); mean form of moocore",
    better="lower",
    empty=float("inf"),
    needs=("reference_front",),
)
def igd(points: np.ndarray, yardstick: Yardstick) -> float:
    """Mean Euclidean distance from each point of the reference front to the nearest point of the set.

    `igd(values, reference_front=..., directions=None) -> float`. Not Pareto-compliant: a better set can read worse;
    `igd_plus` cannot.
    """
    assert yardstick.reference_front is not None
    return moocore.igd(-points, ref=-yardstick.reference_front)
