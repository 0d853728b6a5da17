"""Hypervolume: the volume of what a set dominates above a reference point, and what each point adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.front import engines
from pareto.front.gate import admit, reference
from pareto.front.indicator import Yardstick, finite, indicator, warn_outside


@indicator(
    source="Zitzler and Thiele (1998); exact algorithms of moocore (Guerreiro and Fonseca 2017) and pygmo (WFG)",
    better="higher",
    empty=0.0,
    needs=("ref_point",),
)
def hypervolume(points: np.ndarray, yardstick: Yardstick) -> float:
    """Volume dominated by the points and bounded by the reference point, exact for every m.

    `hypervolume(values, ref_point, directions=None) -> float`. Points that do not beat the reference point in every
    objective add nothing and are counted in an `OutsideReferenceWarning`; rows with NaN or infinity are set aside and
    named in a `QuarantineWarning`; copies and dominated points add nothing; the empty set has 0.
    """
    assert yardstick.ref_point is not None
    return engines.volume(points, yardstick.ref_point)


@indicator(
    source="moocore's RelativeHypervolume; Zitzler and Thiele (1998)",
    better="higher",
    empty=0.0,
    needs=("ref_point", "reference_front"),
    domain=lambda points, yardstick: (
        "" if _reference_volume(yardstick) > 0 else "the reference front has no hypervolume"
    ),
)
def relative_hypervolume(points: np.ndarray, yardstick: Yardstick) -> float:
    """Hypervolume divided by that of the reference front: 1 where nothing is missing.

    `relative_hypervolume(values, ref_point, reference_front, directions=None) -> float`.
    """
    assert yardstick.ref_point is not None
    return engines.volume(points, yardstick.ref_point) / _reference_volume(yardstick)


def hypervolume_contributions(
    values: Any, ref_point: Any, directions: Sequence[str] | None = None
) -> np.ndarray:
    """Volume that is lost when one point alone is taken away: HV(all) - HV(all without it).

    Args:
        values: [n, m] in the objectives' own directions; numpy, pandas, torch or lists.
        ref_point: [m] or one number, in the objectives' own directions.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [n] float64 >= 0; exactly 0 for dominated points, for every copy of a doubled point, for points that do not beat
        the reference point in every objective, and for rows with NaN or infinity (named by a `QuarantineWarning`). A
        dominated point still counts as present: where it lies behind one point only, it lessens that point's loss.

    Raises:
        ShapeError: wrong shapes.
        UsageError: the reference point is not finite.
        NumericsError: a contribution overflows float64.
    """
    points = admit(values, directions=directions)
    points.warn()
    m = np.size(ref_point) if len(points.kept) == 0 else points.m
    ref = reference(ref_point, m, directions)
    if len(points) == 0:
        return np.zeros(len(points.kept))
    warn_outside(points, ref)
    contributions = engines.contributions(points.values, ref)
    finite(float(contributions.sum()), "a hypervolume contribution")
    return points.scatter(contributions, 0.0)


def _reference_volume(yardstick: Yardstick) -> float:
    assert yardstick.reference_front is not None
    assert yardstick.ref_point is not None
    return engines.volume(yardstick.reference_front, yardstick.ref_point)
