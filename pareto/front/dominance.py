"""Pareto dominance: which points no other point beats, and in which layer a point lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np

from pareto.front.gate import admit

CROWD = 20_000
"""From this many points on, points behind a few strong ones are dropped before the exact algorithm runs."""

SAMPLE = 10_000
"""Among how many points a strong one is sought."""


def non_dominated(values: Any, directions: Sequence[str] | None = None) -> np.ndarray:
    """Mark the points that no other point dominates.

    a dominates b when a is at least as good in every objective and better in one. Exact duplicates do not dominate each
    other: all copies of a non-dominated point are marked.

    Args:
        values: [n, m] in the objectives' own directions; numpy, pandas, torch or lists.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [n] bool; False for rows with NaN or infinity, which are named by a `QuarantineWarning`.

    Raises:
        ShapeError: wrong shape.
    """
    points = admit(values, directions=directions)
    points.warn()
    return points.scatter(mask(points.values), False)


def non_dominated_ranks(values: Any, directions: Sequence[str] | None = None) -> np.ndarray:
    """Number the layers of a set: 0 for non-dominated points, 1 for those that are once layer 0 is gone, and so on.

    Args:
        values: [n, m] in the objectives' own directions.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [n] int64; copies share a rank; -1 for rows with NaN or infinity, which are named by a `QuarantineWarning`.

    Raises:
        ShapeError: wrong shape.
    """
    points = admit(values, directions=directions)
    points.warn()
    if len(points) == 0:
        return np.full(len(points.kept), -1)
    return points.scatter(moocore.pareto_rank(-points.values).astype(np.int64), -1)


def mask(points: np.ndarray) -> np.ndarray:
    """[n] bool: `non_dominated` of points that are clean already."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    if len(points) < CROWD:
        return moocore.is_nondominated(points, maximise=True, keep_weakly=True)
    left = _thin_out(points)
    marked = np.zeros(len(points), dtype=bool)
    marked[left] = moocore.is_nondominated(points[left], maximise=True, keep_weakly=True)
    return marked


def distinct_front(points: np.ndarray) -> np.ndarray:
    """[k, m]: the non-dominated points, copies once, in lexicographic order."""
    return np.unique(points[mask(points)], axis=0)


def _thin_out(points: np.ndarray) -> np.ndarray:
    """Positions of the points that remain when everything dominated by a few strong points is dropped.

    Strong: the smallest share of the objectives' ranges is large; sought in an evenly spaced sample. Rounds go on while
    one drops a tenth of the rest.
    """
    columns = np.ascontiguousarray(points.T)
    left = np.arange(len(points))
    low = columns.min(axis=1, keepdims=True)
    spread = columns.max(axis=1, keepdims=True) - low
    spread[spread == 0] = 1.0
    while len(left) >= CROWD:
        sample = columns[:, :: len(left) // SAMPLE]
        strong = sample[:, ((sample - low) / spread).min(axis=0).argmax()]
        ahead = np.logical_or.reduce([c > b for c, b in zip(columns, strong)])
        ahead |= np.logical_and.reduce([c == b for c, b in zip(columns, strong)])
        stay = np.flatnonzero(ahead)
        if len(stay) > 0.9 * len(left):
            break
        columns, left = columns[:, stay], left[stay]
    return left
