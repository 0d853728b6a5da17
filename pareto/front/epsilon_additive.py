"""Additive epsilon: how much must be given to every objective to cover a reference front."""

from __future__ import annotations

import moocore
import numpy as np

from pareto.front.indicator import Yardstick, indicator


@indicator(
    source="Zitzler, Thiele, Laumanns, Fonseca and Grunert da Fonseca (2003)",
    better="lower",
    empty=float("inf"),
    needs=("reference_front",),
)
def epsilon_additive(points: np.ndarray, yardstick: Yardstick) -> float:
    """Smallest number which, added to every objective of every point, lets the set weakly dominate the reference front.

    `epsilon_additive(values, reference_front=..., directions=None) -> float`; max_r min_a max_j (r_j - a_j). Negative where
    the set is strictly better everywhere.
    """
    assert yardstick.reference_front is not None
    return moocore.epsilon_additive(-points, ref=-yardstick.reference_front)
