"""Upper hulls: which points are best for some linear utility, and what mixtures of points dominate."""

from __future__ import annotations

import itertools

import numpy as np


def upper_hull(front: np.ndarray) -> np.ndarray:
    """[k, 2]: corners of the upper hull of distinct, mutually non-dominated points that rise in objective 0.

    They are the points that are best for some linear utility, without those on the straight line between two others.
    """
    hull: list[np.ndarray] = []
    for point in front:
        while len(hull) > 1 and indifference(hull[-2], hull[-1]) >= indifference(hull[-1], point):
            hull.pop()
        hull.append(point)
    return np.array(hull)


def indifference(a: np.ndarray, b: np.ndarray) -> float:
    """Weight of objective 0 at which two neighbours are worth the same; b is ahead of a in objective 0, behind in 1."""
    gain, loss = b[0] - a[0], a[1] - b[1]
    return loss / (gain + loss)


def hull_of_boxes(front: np.ndarray) -> tuple[float, np.ndarray]:
    """Volume of the convex hull of the boxes between 0 and each point, and the points that are corners of it.

    Args:
        front: [n, m], all >= 0, in every objective some > 0; distinct, mutually non-dominated, in lexicographic order.

    Returns:
        (volume, [k] row numbers).
    """
    m = front.shape[1]
    if m == 1:
        return float(front.max()), np.array([front[:, 0].argmax()])
    if m == 2:
        chain = upper_hull(front)
        edge = np.concatenate([[[0.0, chain[0, 1]]], chain, [[chain[-1, 0], 0.0]]])
        area = (np.diff(edge[:, 0]) * (edge[1:, 1] + edge[:-1, 1]) / 2).sum()
        return float(area), np.searchsorted(front[:, 0], chain[:, 0])
    from scipy.spatial import ConvexHull, QhullError

    boxes = [np.where(mask, front, 0.0) for mask in itertools.product((True, False), repeat=m)]
    corners, first = np.unique(np.concatenate(boxes), axis=0, return_index=True)
    try:
        hull = ConvexHull(corners)
    except QhullError:  # nearly degenerate: let qhull jog the corners, by 1e-11 or so
        hull = ConvexHull(corners, qhull_options="QJ")
    chosen = first[hull.vertices]
    return float(hull.volume), chosen[chosen < len(front)]
