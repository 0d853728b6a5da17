"""Pseudo-weights: which weights a point looks like, wherever it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.front.dominance import mask
from pareto.front.gate import admit


def pseudo_weights(values: Any, directions: Sequence[str] | None = None) -> np.ndarray:
    """How far each point has gone from nadir to ideal in each objective, divided by the sum over objectives.

    w_j = s_j / sum s, s_j = (v_j - nadir_j) / (ideal_j - nadir_j), with ideal and nadir of the non-dominated points.

    Args:
        values: [n, m] in the objectives' own directions.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [n, m], rows on the simplex; uniform where a point is above the nadir nowhere; NaN for rows with NaN or infinity
        (`QuarantineWarning`).

    Raises:
        ShapeError: wrong shape.
    Source: Deb (2001), Multi-objective optimization using evolutionary algorithms; turned to maximisation.
    """
    points = admit(values, directions=directions)
    points.warn()
    out = np.full((len(points.kept), points.m), np.nan)
    if len(points):
        front = points.values[mask(points.values)]
        nadir = front.min(axis=0)
        spread = front.max(axis=0) - nadir
        shares = np.maximum(points.values - nadir, 0.0) / np.where(spread > 0, spread, 1.0) * (spread > 0)
        total = shares.sum(axis=1, keepdims=True)
        out[points.kept] = np.where(total > 0, shares / np.where(total > 0, total, 1.0), 1.0 / points.m)
    return out
