"""Relative hypervolume: what share of a reference front's hypervolume a set reaches."""

from __future__ import annotations

import numpy as np

from pareto.front import engines
from pareto.front.approximation import expected_seconds
from pareto.front.indicator import Yardstick, indicator


def _whole(points: np.ndarray, yardstick: Yardstick) -> str:
    front, ref = yardstick.reference_front, yardstick.ref_point
    assert front is not None
    return (
        "" if (front > ref).all(axis=1).any() else "no point of the reference front beats the reference point"
    )


def _cost_s(points: np.ndarray, yardstick: Yardstick) -> float:
    assert yardstick.reference_front is not None
    return expected_seconds(max(len(points), len(yardstick.reference_front)), points.shape[1])


@indicator(
    source="Zitzler and Thiele (1998), divided by the hypervolume of a reference front",
    better="higher",
    empty=0.0,
    needs=("ref_point", "reference_front"),
    domain=_whole,
    cost_s=_cost_s,
)
def relative_hypervolume(points: np.ndarray, yardstick: Yardstick) -> float:
    """Hypervolume divided by that of the reference front: 1 where nothing is missing.

    `relative_hypervolume(values, ref_point, reference_front, directions=None) -> float`.
    """
    assert yardstick.ref_point is not None
    assert yardstick.reference_front is not None
    whole = engines.volume(yardstick.reference_front, yardstick.ref_point)
    return engines.volume(points, yardstick.ref_point) / whole
