"""Trade-off rates: what one unit of an objective costs in another between neighbours on the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.front.dominance import mask
from pareto.front.gate import admit


@dataclass(frozen=True)
class TradeOff:
    """What changes between two neighbouring points.

    Args:
        a: row number of one point.
        b: row number of the other, a < b.
        rates: [m, m]; rates[i, j] = (v_j(a) - v_j(b)) / (v_i(b) - v_i(a)) on oriented values: how much of objective j one
            unit of objective i costs; negative where both rise together; NaN on the diagonal and where objective i does
            not change. Between points that are best for weights w it lies near w_i / w_j.
    """

    a: int
    b: int
    rates: np.ndarray


def trade_off_rates(values: Any, directions: Sequence[str] | None = None) -> list[TradeOff]:
    """Trade-off rates between all neighbours on the front.

    Neighbours: no third point is nearer to both, with objectives scaled to the range of the front. For m = 2 these are the
    consecutive points of the front.

    Args:
        values: [n, m] in the objectives' own directions.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        One TradeOff per pair of neighbours among the distinct non-dominated points (the first row of each), ordered by
        (a, b); rows with NaN or infinity are set aside (`QuarantineWarning`).

    Raises:
        ShapeError: wrong shape.
    Source: relative neighbourhood graph, Toussaint (1980).
    """
    points = admit(values, directions=directions)
    points.warn()
    if len(points) == 0:
        return []
    marked = np.flatnonzero(mask(points.values))
    _, first = np.unique(points.values[marked], axis=0, return_index=True)
    chosen = np.sort(marked[first])
    front = points.values[chosen]
    rows = np.flatnonzero(points.kept)[chosen]
    return [TradeOff(int(rows[a]), int(rows[b]), _rates(front[a], front[b])) for a, b in _neighbours(front)]


def _neighbours(front: np.ndarray) -> list[tuple[int, int]]:
    spread = np.ptp(front, axis=0)
    scaled = front / np.where(spread > 0, spread, 1.0)
    apart = np.linalg.norm(scaled[:, None] - scaled, axis=2)
    return [
        (a, b)
        for a in range(len(front))
        for b in range(a + 1, len(front))
        if not (np.maximum(apart[a], apart[b]) < apart[a, b]).any()
    ]


def _rates(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    steps = b - a
    divisors = np.where(steps == 0, np.nan, steps)[:, None]
    rates = -steps[None, :] / divisors
    np.fill_diagonal(rates, np.nan)
    return rates
