"""The one boundary to the hypervolume engines: moocore always, pygmo where it is installed and faster.

Engines minimise and this suite maximises: the signs turn here and nowhere else. Input is clean: finite and oriented.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import moocore
import numpy as np

VOLUME_CROSSOVER = {6: 200, 7: 60, 8: 40}
"""m -> points from which pygmo's WFG beats moocore (measured on spheres); 30 for larger m, never for smaller."""

CONTRIBUTIONS_CROSSOVER = {2: np.inf, 3: np.inf, 4: 300, 5: 120}
"""m -> points up to which moocore's contributions beat shadows (measured on spheres); 0 for larger m."""

BLOCK = 4_000_000
"""Most comparisons held in memory at once."""


@functools.cache
def pygmo() -> Any | None:
    """The pygmo module, or None where it is not installed (extra `fast`)."""
    return importlib.import_module("pygmo") if importlib.util.find_spec("pygmo") else None


def volume(points: np.ndarray, ref_point: np.ndarray) -> float:
    """Exact hypervolume of points [n, m] above ref_point [m]."""
    n, m = points.shape
    if m >= 6 and n >= VOLUME_CROSSOVER.get(m, 30) and pygmo() is not None:
        inside = points[(points > ref_point).all(axis=1)]
        if len(inside) == 0:
            return 0.0
        inside = inside[moocore.is_nondominated(inside, maximise=True)]
        return pygmo().hypervolume(-inside).compute(-ref_point)  # type: ignore[union-attr]
    if (
        m >= 5 and n >= 1000 and _crowded(points)
    ):  # moocore drops dominated points late from five objectives on
        points = points[moocore.is_nondominated(points, maximise=True)]
    return moocore.hypervolume(-points, ref=-ref_point)


def _crowded(points: np.ndarray) -> bool:
    """Whether one strong point alone dominates a twentieth of the others, so that dropping those pays."""
    low = points.min(axis=0)
    spread = points.max(axis=0) - low
    shares = (points - low) / np.where(spread > 0, spread, 1.0)
    strong = points[shares.min(axis=1).argmax()]
    return int((points <= strong).all(axis=1).sum()) > len(points) // 20


def contributions(points: np.ndarray, ref_point: np.ndarray) -> np.ndarray:
    """[n]: volume(points) - volume(points without i), exactly 0 where nothing is lost."""
    n, m = points.shape
    if n <= CONTRIBUTIONS_CROSSOVER.get(m, 0):
        figures = moocore.hv_contributions(-points, ref=-ref_point)
        if (
            figures > 0
        ).all():  # every point is inside, on the front and there once: none lies behind another
            return figures
        figures = np.maximum(figures, 0.0)
    else:
        figures = None
    inside = np.flatnonzero((points > ref_point).all(axis=1))
    if len(inside) == 0:
        return np.zeros(n)
    crowd, place = np.unique(points[inside], axis=0, return_inverse=True)
    place = place.ravel()
    front = moocore.is_nondominated(crowd, maximise=True)
    lone = front & (np.bincount(place) == 1)
    shares = np.zeros(len(crowd))
    if figures is None:
        todo = np.flatnonzero(lone)
    else:
        shares[place] = figures[inside]
        todo = np.flatnonzero(lone & _has_followers(crowd, front))
    for i in todo:
        shares[i] = _alone(crowd[i], np.delete(crowd, i, axis=0), ref_point)
    shares[~lone] = 0.0
    figures = np.zeros(n)
    figures[inside] = shares[place]
    return figures


def _has_followers(crowd: np.ndarray, front: np.ndarray) -> np.ndarray:
    """[n] bool: front points behind which some point lies that no other front point dominates."""
    leaders, followed = crowd[front], np.zeros(int(front.sum()), dtype=bool)
    behind = crowd[~front]
    step = max(1, BLOCK // max(1, leaders.size))
    for start in range(0, len(behind), step):
        under = np.asarray((behind[start : start + step, None] <= leaders).all(axis=2))
        followed |= under[np.flatnonzero(under.sum(axis=1) == 1)].any(axis=0)
    out = np.zeros(len(crowd), dtype=bool)
    out[front] = followed
    return out


def _alone(point: np.ndarray, others: np.ndarray, ref_point: np.ndarray) -> float:
    """Volume dominated by one point and none of the others: its box less what their shadows in it take.

    Source: While, Bradstreet and Barone (2012), WFG: exclusive volume by limit sets.
    """
    shadows = np.minimum(others, point)
    shadows = shadows[moocore.is_nondominated(shadows, maximise=True)]
    with np.errstate(over="ignore", invalid="ignore"):
        box = float(np.prod(point - ref_point))
        share = box - volume(shadows, ref_point) if len(shadows) else box
    return 0.0 if share < 0 else share  # NaN, from volumes that overflow, goes on to whoever asked
