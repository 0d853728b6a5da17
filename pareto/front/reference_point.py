"""How a reference point is fixed when none is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.front.gate import admit, signs

RULE = "corners-10%"
"""What front.json calls the rule of `nadir_reference` with its default margin."""


def nadir_reference(
    corner_values: Any, margin: float = 0.1, directions: Sequence[str] | None = None
) -> np.ndarray:
    """Place the reference point a little below the worst that the corner policies reach.

    ref_j = min_i v_ij - margin * (max_i v_ij - min_i v_ij). A reference point exactly at the nadir would give the ends of
    the front no contribution; one far below would let them dominate it. Where the corners agree in an objective, so that
    it has no range, the size of their common value stands for it (1 where that is 0).

    Args:
        corner_values: [k, m] values of the corner policies, k >= 1, in the objectives' own directions; rows with NaN or
            infinity are set aside with a `QuarantineWarning`.
        margin: share of the range, > 0.
        directions: [m] "max" or "min"; default all "max" (values oriented already).

    Returns:
        [m] float64, in the objectives' own directions.

    Raises:
        ShapeError: wrong shape.
        UsageError: no finite corner, or a margin that is not positive.
    Source: nadir minus a tenth of the range, as in botorch's `infer_reference_point`; here of the corners only, so that it
        is fixed before any other policy is scored.
    """
    if not margin > 0:
        raise UsageError(
            f"margin must be > 0, or the ends of the front would contribute nothing; got {margin}"
        )
    points = admit(corner_values, directions=directions)
    points.warn()
    if len(points) == 0:
        raise UsageError(
            "a reference point by the corner rule needs at least one corner with finite values; got none"
        )
    nadir = points.values.min(axis=0)
    ranges = points.values.max(axis=0) - nadir
    ranges = np.where(ranges > 0, ranges, np.where(nadir == 0, 1.0, np.abs(nadir)))
    return signs(directions, points.m) * (nadir - margin * ranges)
