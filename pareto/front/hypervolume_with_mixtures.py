"""Hypervolume of the set and of everything reached by drawing one of its policies at random."""

from __future__ import annotations

import itertools

import numpy as np

from pareto.front.dominance import distinct_front
from pareto.front.indicator import Yardstick, indicator

MAX_OBJECTIVES = 5
MAX_VERTICES = 20_000


@indicator(
    source="convex hull of the values: Vamplew et al. (2009), stochastic mixture policies; qhull (Barber et al. 1996)",
    better="higher",
    empty=0.0,
    needs=("ref_point",),
    domain=lambda points, yardstick: (
        ""
        if points.shape[1] <= MAX_OBJECTIVES and len(points) * 2 ** points.shape[1] <= MAX_VERTICES
        else f"convex hulls are built for m <= {MAX_OBJECTIVES} and n * 2^m <= {MAX_VERTICES} only; got {points.shape}"
    ),
)
def hypervolume_with_mixtures(points: np.ndarray, yardstick: Yardstick) -> float:
    """Volume that mixtures of the points dominate above the reference point: what a random choice per episode reaches.

    `hypervolume_with_mixtures(values, ref_point, directions=None) -> float`, exact. The dominated region of all mixtures is
    the convex hull of the boxes [ref, v_k]; a point outside the reference point may still serve in a mixture.
    """
    assert yardstick.ref_point is not None
    front = distinct_front(points) - yardstick.ref_point
    m = front.shape[1]
    if m == 1:
        return float(max(front.max(), 0.0))
    if (front < 0).any():
        return _clipped(front)
    front = front[(front > 0).any(axis=1)]
    if not len(front) or not (front.max(axis=0) > 0).all():
        return 0.0
    return _hull_volume(_boxes(front, np.zeros(m)))


def _boxes(front: np.ndarray, base: np.ndarray) -> np.ndarray:
    """[n * 2^m, m] corners of the boxes between base and each point."""
    corners = [
        np.where(np.array(mask), front, base) for mask in itertools.product((False, True), repeat=len(base))
    ]
    return np.unique(np.concatenate(corners), axis=0)


def _hull_volume(corners: np.ndarray) -> float:
    from scipy.spatial import ConvexHull

    scale = np.ptp(corners, axis=0)
    return float(ConvexHull(corners / scale).volume * np.prod(scale))


def _clipped(front: np.ndarray) -> float:
    """Volume where some point lies below the reference point 0: the hull from a lower base, cut off at 0."""
    from scipy.optimize import linprog
    from scipy.spatial import ConvexHull, HalfspaceIntersection

    n, m = front.shape
    scale = np.abs(front).max(axis=0)
    scale[scale == 0] = 1.0
    front = front / scale
    # the mixture that clears the reference point by most, which is also a point inside the region to be measured
    best = linprog(
        np.r_[np.zeros(n), -1.0],
        A_ub=np.c_[-front.T, np.ones(m)],
        b_ub=np.zeros(m),
        A_eq=np.r_[np.ones(n), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
    )
    clear = float(best.x[-1])
    if clear <= 1e-12:
        return 0.0
    base = np.minimum(front.min(axis=0), 0.0) - 1.0
    faces = ConvexHull(_boxes(front, base)).equations
    floor = np.c_[-np.eye(m), np.zeros(m)]
    region = HalfspaceIntersection(np.r_[np.unique(faces, axis=0), floor], np.full(m, clear / 2))
    return float(ConvexHull(region.intersections).volume * np.prod(scale))
