"""Hypervolume of the set and of everything reached by drawing one of its policies at random."""

from __future__ import annotations

import numpy as np

from pareto.front.dominance import distinct_front
from pareto.front.hull import hull_of_boxes
from pareto.front.indicator import Yardstick, indicator

MANY = 100
"""From this many points on, points inside the hull are dropped between cuts."""


@indicator(
    source="convex hull of the values: Vamplew et al. (2009), stochastic mixture policies; qhull (Barber et al. 1996)",
    better="higher",
    empty=0.0,
    needs=("ref_point",),
    # from n points to 4^m n crossings and faces at worst; above five objectives hulls grow out of hand
    cost_s=lambda points, _: 3e-5 * len(points) * 4.0 ** points.shape[1] if points.shape[1] <= 5 else np.inf,
)
def hypervolume_with_mixtures(points: np.ndarray, yardstick: Yardstick) -> float:
    """Volume that mixtures of the points dominate above the reference point: what a random choice per episode reaches.

    `hypervolume_with_mixtures(values, ref_point, directions=None) -> float`, exact up to rounding (1e-9 relative). What
    mixtures dominate is the convex hull of the boxes [ref, v_k]; a point outside the reference point may still serve in a
    mixture, so the hull is cut at the reference point first.
    """
    assert yardstick.ref_point is not None
    front = distinct_front(points) - yardstick.ref_point
    for j in range(front.shape[1]):
        front = _cut(front, j)
    front = front[(front > 0).any(axis=1)]
    if not len(front) or not (front.max(axis=0) > 0).all():
        return 0.0
    scale = front.max(axis=0)
    return hull_of_boxes(front / scale)[0] * float(np.prod(scale))


def _cut(front: np.ndarray, j: int) -> np.ndarray:
    """Points whose mixtures are all mixtures of `front` that reach 0 in objective j.

    They are the points that reach it, and where the segments to those that do not cross it.
    """
    out = front[:, j] < 0
    if not out.any():
        return front
    above, below = front[~out], front[out]
    share = above[:, None, j] / (above[:, None, j] - below[None, :, j])
    crossings = above[:, None] + share[:, :, None] * (below[None] - above[:, None])
    crossings[:, :, j] = 0.0
    front = distinct_front(np.concatenate([above, crossings.reshape(-1, front.shape[1])]))
    if len(front) < MANY:
        return front
    lift = front - front.min(axis=0)
    lift += np.where(lift.max(axis=0) > 0, lift.max(axis=0), 1.0)  # boxes that are flat nowhere
    return front[hull_of_boxes(lift / lift.max(axis=0))[1]]
