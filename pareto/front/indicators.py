"""All indicators of a set at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pareto.front.indicator import INDICATORS, finite, survey, warn_outside
from pareto.front.quadrature import Estimate


def indicators(
    values: Any,
    ref_point: Any = None,
    reference_front: Any = None,
    utilities: Any = None,
    directions: Sequence[str] | None = None,
    budget_s: float = 10.0,
    names: Sequence[str] | None = None,
) -> dict[str, float]:
    """Measure a set of points by every registered indicator that applies.

    Args:
        values: [n, m] in the objectives' own directions; numpy, pandas, torch or lists.
        ref_point: [m] or one number, in the objectives' own directions; without it hypervolumes are left out.
        reference_front: [k, m], in the objectives' own directions; without it distances to a front are left out.
        utilities: weights [k, m] of k linear users, or a function of oriented points [n, m] -> [k, n]; default: all linear
            utilities, weights uniform on the simplex.
        directions: [m] "max" or "min"; default all "max".
        budget_s: seconds that one indicator may be expected to take; past it the figure is approximate where that can be
            had, and left out otherwise. The expectation rests on n and m, never on a clock.
        names: which indicators; default all that are registered.

    Returns:
        Indicator name -> figure, of points oriented to larger-is-better, and the counts `n`, `quarantined` (rows with NaN
        or infinity, set aside) and `outside_ref_point` (points that do not beat the reference point in every objective;
        only with a reference point). A figure that is not exact has its 95 % error beside it, as `<name>_error`. An
        indicator that is not defined on these points is left out. Of the empty set some figures are infinite (a distance to nothing): write null for them in JSON.

    Raises:
        ShapeError: wrong shapes.
        UsageError: a reference that is not finite.
        UnknownNameError: a name that no indicator has.
        NumericsError: a figure overflows float64.
    """
    points, yardstick = survey(values, ref_point, reference_front, utilities, directions)
    points.warn()
    warn_outside(points, yardstick.ref_point)
    figures = {"n": float(len(points)), "quarantined": float(len(points.quarantined))}
    if yardstick.ref_point is not None:
        outside = points.outside(yardstick.ref_point) if len(points) else 0
        figures["outside_ref_point"] = float(outside)
    for name in INDICATORS.names() if names is None else names:
        made = INDICATORS.get(name)
        if not made.applies(points.values, yardstick):
            continue
        if len(points) == 0:
            figures[name] = made.empty
            continue
        affordable = made.cost_s(points.values, yardstick) <= budget_s
        measure = made.measure if affordable else made.approximate
        if measure is None:
            continue
        figure = measure(points.values, yardstick)
        figures[name] = finite(float(figure), name)
        if isinstance(figure, Estimate) and figure.error > 0:
            figures[f"{name}_error"] = figure.error
    return figures
