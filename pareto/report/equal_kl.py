"""Runs at equal distance from the reference policy: a lead that is only had by drifting is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pareto.front import equal_kl
from pareto.report.growth import hold
from pareto.report.measuring import interval, oriented, together
from pareto.report.reading import UnitScores
from pareto.report.seeds import by_seed
from pareto.report.tree import Held, Interval, RunReport

MOST_PRICED = 120
"""Most policies of two runs together for which the ratio at equal KL is resampled: every limit is a hypervolume."""


def common_limit(runs: Sequence[RunReport]) -> float | None:
    """The largest KL to the reference that every run reaches, nats; None where some policy's KL is not known."""
    kls = [_kl(run) for run in runs]
    if any(kl is None or not len(kl) for kl in kls):
        return None
    return float(min(kl.max() for kl in kls if kl is not None))


def within_limit(run: RunReport, units: UnitScores | None, ref: np.ndarray, limit: float) -> Held | None:
    """Measure the policies of a run whose KL keeps a limit; None where none does."""
    kl = _kl(run)
    if kl is None:
        return None
    groups = [[i for i in rows if kl[i] <= limit] for rows in by_seed(run.policies).values()]
    return hold(run, units, ref, groups) if any(groups) else None


def equal_kl_ratio(
    runs: Sequence[RunReport], units: Sequence[UnitScores | None], r: int, ref: np.ndarray
) -> tuple[float, Interval | None] | None:
    """Hypervolume of run `r` over that of the first at equal KL, the mean over the seeds that both have, with its interval.

    None where KL is not known, and where less than half of either's policies lie within the KL that both reach: a ratio
    of two or three policies that happen to lie lowest says nothing. Where the first run reaches nothing below that KL, the
    ratio is that at that KL alone. The interval rests on the same units for both; KL is
    taken as it was measured.
    """
    ours, theirs = _kl(runs[0]), _kl(runs[r])
    if r == 0 or ours is None or theirs is None or not len(ours) or not len(theirs):
        return None
    common = min(ours.max(), theirs.max())
    if any(2 * (kl <= common).sum() < len(kl) for kl in (ours, theirs)):
        return None
    first, other = (by_seed(run.policies) for run in (runs[0], runs[r]))
    shared = [seed for seed in first if seed in other]
    n = len(ours)

    def figure(values: np.ndarray) -> float:
        sets = [
            (values[n:][other[seed]], theirs[other[seed]], values[:n][first[seed]], ours[first[seed]])
            for seed in shared
        ]
        return float(np.mean([_ratio(*one, ref) for one in sets]))

    both = together(units, r) if len(ours) + len(theirs) <= MOST_PRICED else None
    value = figure(np.concatenate([oriented(runs[0]), oriented(runs[r])])) if shared else np.nan
    return (value, interval(both, figure)) if np.isfinite(value) else None


def _ratio(a: np.ndarray, a_kl: np.ndarray, b: np.ndarray, b_kl: np.ndarray, ref: np.ndarray) -> float:
    """The ratio over all common limits; at the largest alone where the second reaches nothing below it."""
    found = equal_kl(a, a_kl, b, b_kl, ref)
    return found.ratio if np.isfinite(found.ratio) else found.ratio_at_common_limit


def _kl(run: RunReport) -> np.ndarray | None:
    """[n] KL of every policy to the reference; an estimate below 0 is noise around 0. None where one is not known."""
    kl = [p.kl_nats for p in run.policies if p.kl_nats is not None]
    return np.maximum(kl, 0.0) if len(kl) == len(run.policies) else None
