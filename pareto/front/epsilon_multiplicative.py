"""Multiplicative epsilon: by what factor every objective must grow to cover a reference front."""

from __future__ import annotations

import moocore
import numpy as np

from pareto.front.indicator import Yardstick, indicator


def _positive(points: np.ndarray, yardstick: Yardstick) -> str:
    front = yardstick.reference_front
    positive = (points > 0).all() and (front is None or (front > 0).all())
    return "" if positive else "factors need every oriented value > 0; use epsilon_additive"


@indicator(
    source="Zitzler, Thiele, Laumanns, Fonseca and Grunert da Fonseca (2003)",
    better="lower",
    empty=float("inf"),
    needs=("reference_front",),
    domain=_positive,
)
def epsilon_multiplicative(points: np.ndarray, yardstick: Yardstick) -> float:
    """Smallest factor by which every objective must grow for the set to weakly dominate the reference front.

    `epsilon_multiplicative(values, reference_front=..., directions=None) -> float`; max_r min_a max_j (r_j / a_j), defined
    for positive oriented values only.
    """
    assert yardstick.reference_front is not None
    return moocore.epsilon_mult(points, ref=yardstick.reference_front, maximise=True)
