"""Figures across seeds: what three to ten runs can say and how surely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pareto.errors import ShapeError, UsageError
from pareto.front.intervals import Interval
from pareto.rng import generator

Strata = Sequence[np.ndarray]
"""One array [S_e] of per-seed figures for each environment or task."""


def interquartile_mean(figures: Any) -> float:
    """Mean of the middle half of all runs.

    A quarter of the runs (rounded down) is left out at either end: less swayed by one lucky seed than the mean, less
    wasteful than the median. With fewer than four runs it is the mean.

    Args:
        figures: [S] one figure per seed, or one array [S_e] per environment, pooled.

    Raises:
        ShapeError: no figures.
        UsageError: a figure that is not finite.
    Source: Agarwal, Schwarzer, Castro, Courville and Bellemare (2021), interquartile mean; 25 % is fixed.
    """
    pooled = np.sort(np.concatenate(strata(figures)))
    cut = len(pooled) // 4
    return float(pooled[cut : len(pooled) - cut].mean())


def probability_of_improvement(figures: Any, others: Any) -> float:
    """Probability that a random run of one method beats a random run of another in the same environment.

    Mean over environments of P(x > y) + P(x = y) / 2.

    Args:
        figures: [S] per-seed figures of the first method, or one array [S_e] per environment; larger is better.
        others: the same for the second method, the same environments.

    Raises:
        ShapeError: no figures, or another number of environments.
        UsageError: a figure that is not finite.
    Source: Agarwal et al. (2021), section 4; Mann and Whitney (1947).
    """
    first, second = strata(figures), strata(others)
    if len(first) != len(second):
        raise ShapeError(
            f"both methods need the same environments; got {len(first)} and {len(second)} of them"
        )
    wins = [np.sign(x[:, None] - y[None, :]).mean() for x, y in zip(first, second)]
    return float((np.mean(wins) + 1) / 2)


def seed_interval(
    figure: Callable[..., float],
    *methods: Any,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Interval of a figure across seeds: percentile bootstrap over seeds within each environment.

    With three seeds it can only be rough, and is usually too narrow: read it with the single runs beside it.

    Args:
        figure: called with one list of strata per method, such as `interquartile_mean` or `probability_of_improvement`.
        methods: per method [S] per-seed figures, or one array [S_e] per environment. Hypervolumes must share one reference
            point.
        seed: of the resampling.
        resamples: number of resamples.
        level: confidence level.

    Returns:
        Interval; its `units` is the smallest number of seeds.

    Raises:
        ShapeError: no figures.
        UsageError: a figure that is not finite.
    Source: Agarwal et al. (2021), stratified bootstrap.
    """
    runs = [strata(m) for m in methods]
    rng = generator("seed_interval", seed)
    value = figure(*runs)
    drawn = np.array(
        [
            figure(*([x[rng.integers(len(x), size=len(x))] for x in method] for method in runs))
            for _ in range(resamples)
        ]
    )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    fewest = min(len(x) for method in runs for x in method)
    low, high = min(value, float(low)), max(value, float(high))
    return Interval(float(value), low, high, 0.0, level, fewest, resamples)


def strata(figures: Any) -> list[np.ndarray]:
    """[S] or one array [S_e] per environment, as a list of arrays.

    Raises:
        ShapeError: no figures.
        UsageError: a figure that is not finite.
    """
    nested = len(figures) > 0 and all(np.ndim(x) == 1 for x in figures)
    arrays = [np.asarray(x, dtype=np.float64) for x in (figures if nested else [figures])]
    if any(x.ndim != 1 or len(x) == 0 for x in arrays):
        raise ShapeError(
            "expected per-seed figures [S], or one array [S_e] per environment, none empty; "
            f"got shapes {[list(x.shape) for x in arrays]}"
        )
    if not all(np.isfinite(x).all() for x in arrays):
        raise UsageError("per-seed figures must be finite; leave failed seeds out and say how many failed")
    return arrays
