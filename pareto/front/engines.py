"""The one boundary to the hypervolume engines: moocore always, pygmo where it is installed and faster.

Engines minimise and this suite maximises: the signs turn here and nowhere else. Input is clean: finite, oriented.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import moocore
import numpy as np

CROSSOVER = {6: 200, 7: 60, 8: 40}
"""m -> number of points from which pygmo's WFG is faster than moocore; above m = 8 the last one holds."""


@functools.cache
def pygmo() -> Any | None:
    """The pygmo module, or None where it is not installed (extra `fast`)."""
    return importlib.import_module("pygmo") if importlib.util.find_spec("pygmo") else None


def volume(points: np.ndarray, ref_point: np.ndarray) -> float:
    """Exact hypervolume of points [n, m] above ref_point [m]."""
    n, m = points.shape
    if m >= 6 and n >= CROSSOVER.get(m, CROSSOVER[8]):
        inside = points[(points > ref_point).all(axis=1)]
        if len(inside) >= CROSSOVER.get(m, CROSSOVER[8]) and pygmo() is not None:
            return pygmo().hypervolume(-inside).compute(-ref_point)  # type: ignore[union-attr]
    return moocore.hypervolume(-points, ref=-ref_point)


def contributions(points: np.ndarray, ref_point: np.ndarray) -> np.ndarray:
    """[n]: HV(points) - HV(points without i), exactly 0 where nothing is lost."""
    n, m = points.shape
    if m in (2, 3):
        figures = moocore.hv_contributions(-points, ref=-ref_point)
        if (figures > 0).all():  # every point is on the front, once, and inside: nothing lies behind another
            return figures
    inside = np.flatnonzero((points > ref_point).all(axis=1))
    figures = np.zeros(n)
    if len(inside) == 0:
        return figures
    crowd, copies_of = np.unique(points[inside], axis=0, return_inverse=True)
    copies = np.bincount(copies_of.ravel())
    front = moocore.is_nondominated(crowd, maximise=True, keep_weakly=True)
    lone = np.zeros(len(crowd))
    for i in np.flatnonzero(front & (copies == 1)):
        lone[i] = _alone(crowd[i], np.delete(crowd, i, axis=0), ref_point)
    figures[inside] = lone[copies_of.ravel()]
    return figures


def _alone(point: np.ndarray, others: np.ndarray, ref_point: np.ndarray) -> float:
    """Volume dominated by one point and none of the others: its box minus what the others take of it."""
    box = float(np.prod(point - ref_point))
    if len(others) == 0:
        return box
    shadows = np.minimum(others, point)
    shadows = shadows[moocore.is_nondominated(shadows, maximise=True)]
    return max(0.0, box - volume(shadows, ref_point))
