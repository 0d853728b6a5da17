"""Intervals of the further indicators, where the policies' scores per unit are there."""

from __future__ import annotations

import numpy as np

from pareto.front import INDICATORS, Yardstick
from pareto.report.measuring import interval
from pareto.report.reading import UnitScores
from pareto.report.tree import Interval, RunReport

MOST_POLICIES, MOST_OBJECTIVES = 30, 3
"""Beyond these an expected utility, resampled two hundred times, keeps people waiting for more than two seconds."""

RESAMPLES = 100


def further_intervals(
    run: RunReport, units: UnitScores | None, ref: np.ndarray | None
) -> dict[str, Interval]:
    """95 % intervals of the run's indicators but the hypervolume, which has its own.

    Args:
        run: the run.
        units: its oriented scores per unit, or None.
        ref: [m] oriented reference point, or None.

    Returns:
        Indicator name -> interval; only of indicators whose figure of the scores' means is the one that front.json holds.
    """
    if units is None or len(run.policies) > MOST_POLICIES or len(run.objectives) > MOST_OBJECTIVES:
        return {}
    yardstick = Yardstick(ref_point=ref)
    made = {}
    for name in INDICATORS.names():
        entry, figure = INDICATORS.get(name), run.indicators.get(name)
        if name == "hypervolume" or not isinstance(figure, int | float):
            continue
        means = units.values.mean(axis=1)
        if not entry.applies(means, yardstick) or not np.isclose(
            float(entry.measure(means, yardstick)), figure, rtol=1e-6
        ):
            continue
        found = interval(
            units, lambda values, entry=entry: float(entry.measure(values, yardstick)), RESAMPLES
        )
        if found is not None:
            made[name] = found
    return made
