"""Expected utility: how well the set serves a user whose weights are drawn at random."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.front.dominance import distinct_front
from pareto.front.hull import indifference, upper_hull
from pareto.front.indicator import Utilities, Yardstick, indicator, survey
from pareto.front.quadrature import Estimate, simplex_mean


@indicator(
    source="Zintgraf, Kanters, Roijers, Oliehoek and Beau (2015), expected utility metric",
    better="higher",
    empty=float("-inf"),
)
def expected_utility(points: np.ndarray, yardstick: Yardstick) -> Estimate:
    """Mean over users of the best utility that a point of the set gives them.

    `expected_utility(values, utilities=None, directions=None) -> float`; without `utilities` the users are linear,
    u_w(v) = w.v, with w uniform on the simplex: exact for m <= 3, quasi-Monte-Carlo above (`expected_utility_estimate`
    gives the error too). Not shift-free: values enter in their own units, so scale objectives first where they differ.
    """
    return _estimate(points, yardstick.utilities)


def expected_utility_estimate(
    values: Any, utilities: Any = None, directions: Sequence[str] | None = None
) -> Estimate:
    """Expected utility with the half-width of its 95 % interval: 0 where it is exact.

    Args:
        values: [n, m] in the objectives' own directions, n >= 0.
        utilities: weights [k, m] of k linear users, or a function of oriented points [n, m] -> [k, n]; default: all linear
            utilities, weights uniform on the simplex.
        directions: [m] "max" or "min"; default all "max".
    """
    points, yardstick = survey(values, utilities=utilities, directions=directions)
    points.warn()
    if len(points) == 0:
        return Estimate(float("-inf"), 0.0, "exact")
    return _estimate(points.values, yardstick.utilities)


def _estimate(points: np.ndarray, utilities: Utilities | None) -> Estimate:
    if utilities is not None:
        return Estimate(float(utilities(points).max(axis=1).mean()), 0.0, "exact over the given users")
    front = distinct_front(points)
    m = front.shape[1]
    if m == 1 or len(front) == 1:
        return Estimate(float(front.mean(axis=1).max()), 0.0, "exact")
    if m == 2:
        return Estimate(_over_segment(front), 0.0, "exact")
    if m == 3:
        return Estimate(_over_triangle(front), 0.0, "exact")
    return simplex_mean(lambda w: (w @ front.T).max(axis=1), m)


def _over_segment(front: np.ndarray) -> float:
    """Mean of max_k (w f_k0 + (1 - w) f_k1) over w in [0, 1]: a sum over the points of the upper hull."""
    hull = upper_hull(front)
    edges = np.array([0.0, *(indifference(a, b) for a, b in itertools.pairwise(hull)), 1.0])
    middle = (edges[1:] + edges[:-1]) / 2
    return float(np.diff(edges) @ (middle * hull[:, 0] + (1 - middle) * hull[:, 1]))


def _over_triangle(front: np.ndarray) -> float:
    """Mean of max_k w.f_k over the triangle: each point rules a convex polygon of weights, on which w.f_k is linear."""
    total = 0.0
    for point in front:
        polygon = _rule(point, front)
        if len(polygon) < 3:
            continue  # best nowhere, or on a line only
        apex, rest = polygon[:1], polygon[1:]
        sides = rest[1:] - apex, rest[:-1] - apex
        doubled = np.abs(sides[0][:, 0] * sides[1][:, 1] - sides[0][:, 1] * sides[1][:, 0])
        worth = polygon @ point
        total += float(doubled @ (worth[0] + worth[1:-1] + worth[2:])) / 3.0
    return total  # the triangle's area is 1/2, which the doubled areas have taken in


def _rule(point: np.ndarray, front: np.ndarray) -> np.ndarray:
    """[v, 3] corners, in order, of the weights at which no other point is worth more; [0, 3] where there are none."""
    polygon = np.eye(3)
    rivals = front - point
    tolerance = 1e-14 * np.abs(rivals).max(initial=0.0)
    while len(polygon):
        lead = rivals @ polygon.T
        rival = lead.max(axis=1).argmax()
        if lead[rival].max() <= tolerance:
            break
        polygon = _cut(polygon, lead[rival])
    return polygon


def _cut(polygon: np.ndarray, height: np.ndarray) -> np.ndarray:
    """The part of a convex polygon where a linear function, given at the corners, is <= 0."""
    kept = []
    for i in range(len(polygon)):
        a, b, ha, hb = polygon[i - 1], polygon[i], height[i - 1], height[i]
        if (ha > 0) != (hb > 0):
            kept.append(a + (b - a) * (ha / (ha - hb)))
        if hb <= 0:
            kept.append(b)
    return np.array(kept).reshape(-1, polygon.shape[1])
