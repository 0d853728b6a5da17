"""All indicators of a set at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pareto.front.indicator import INDICATORS, finite, survey, warn_outside


def indicators(
    values: Any,
    ref_point: Any = None,
    reference_front: Any = None,
    utilities: Any = None,
    directions: Sequence[str] | None = None,
) -> dict[str, float]:
    """Measure a set of points by every registered indicator that applies.

    Args:
        values: [n, m] in the objectives' own directions; numpy, pandas, torch or lists.
        ref_point: [m] or one number, in the objectives' own directions; without it hypervolumes are left out.
        reference_front: [k, m], in the objectives' own directions; without it distances to a front are left out.
        utilities: weights [k, m] of k linear users, or a function of oriented points [n, m] -> [k, n]; default: all linear
            utilities, weights uniform on the simplex.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        Indicator name -> figure, sorted by name, of points oriented to larger-is-better, and the counts `n`,
        `quarantined` (rows with NaN or infinity, set aside) and `outside_ref_point` (points that do not beat the reference
        point in every objective; only with a reference point). An indicator that is not defined on these points is left
        out. Of the empty set some figures are infinite (a distance to nothing): write null for them in JSON.

    Raises:
        ShapeError: wrong shapes.
        UsageError: a reference that is not finite.
        NumericsError: a figure overflows float64.
    """
    points, yardstick = survey(values, ref_point, reference_front, utilities, directions)
    points.warn()
    warn_outside(points, yardstick.ref_point)
    figures = {"n": float(len(points)), "quarantined": float(len(points.quarantined))}
    if yardstick.ref_point is not None:
        outside = points.outside(yardstick.ref_point) if len(points) else 0
        figures["outside_ref_point"] = float(outside)
    for entry in INDICATORS:
        if entry.value.applies(points.values, yardstick):
            figures[entry.name] = (
                finite(float(entry.value.measure(points.values, yardstick)), entry.name)
                if len(points)
                else entry.value.empty
            )
    return figures
