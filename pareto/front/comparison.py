"""Is one method better than another? Paired tests over seeds or units, corrected for how many are asked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.errors import ShapeError, UsageError
from pareto.rng import generator


@dataclass(frozen=True)
class Comparison:
    """Outcome of comparing two methods on the same seeds.

    Args:
        first: name of one method.
        second: name of the other.
        difference: mean of first minus second.
        low: lower end of the 95 % bootstrap interval of the difference.
        high: upper end.
        p: Wilcoxon signed-rank p-value, two-sided.
        p_holm: the same after Holm's correction over all pairs compared together.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def wilcoxon(figures: Any, others: Any) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test on pairs; exact for small samples, 1 when nothing differs.

    Args:
        figures: [S], one figure per seed or unit.
        others: [S], the other method on the same seeds or units.

    Raises:
        ShapeError: lengths differ, or no pairs.
        UsageError: a figure that is not finite.
    Source: Wilcoxon (1945), as in scipy.stats.wilcoxon; with n pairs it cannot fall below 2^(1 - n).
    """
    steps = _steps(figures, others)
    if not steps.any():
        return 1.0
    from scipy.stats import wilcoxon as signed_rank

    return float(signed_rank(steps).pvalue)  # type: ignore[attr-defined]


def paired_bootstrap(
    figures: Any, others: Any, seed: int = 0, resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float, float, float]:
    """Mean difference of pairs with its percentile interval and a two-sided p-value, by bootstrap over pairs.

    Args:
        figures: [S], one figure per seed or unit.
        others: [S], the other method on the same seeds or units.
        seed: of the resampling.
        resamples: number of resamples.
        level: confidence level.

    Returns:
        (difference, low, high, p); p = (1 + resamples whose centred mean is at least as far from 0) / (1 + resamples).

    Raises:
        ShapeError: lengths differ, or no pairs.
        UsageError: a figure that is not finite.
    Source: Efron and Tibshirani (1993), chapters 13 and 16.
    """
    steps = _steps(figures, others)
    rng = generator("paired_bootstrap", seed)
    counts = rng.multinomial(len(steps), np.full(len(steps), 1.0 / len(steps)), size=resamples)
    drawn = counts @ steps / len(steps)
    mean = steps.mean()
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    beyond = np.abs(drawn - mean) >= abs(mean) - 1e-12 * abs(mean)
    return float(mean), float(low), float(high), float((1 + beyond.sum()) / (1 + resamples))


def holm(p_values: Any) -> np.ndarray:
    """Adjust p-values so that the chance of any false finding among all of them stays at the stated level.

    Sorted upwards, the i-th smallest of k is multiplied by k - i + 1, kept rising and below 1.

    Args:
        p_values: [k] in [0, 1].

    Returns:
        [k], in the order given.

    Raises:
        UsageError: a p-value outside [0, 1].
    Source: Holm (1979).
    """
    p = np.asarray(p_values, dtype=np.float64).ravel()
    if not ((p >= 0) & (p <= 1)).all():
        raise UsageError(f"p-values must lie in [0, 1]; got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def compare_methods(figures: Mapping[str, Any], seed: int = 0) -> list[Comparison]:
    """Compare every two methods on the same seeds.

    Args:
        figures: method name -> [S] per-seed figures; seed i is the same for every method.
        seed: of the bootstrap.

    Returns:
        One Comparison per pair, in the order of the names.

    Raises:
        ShapeError: methods with different numbers of seeds.
        UsageError: a figure that is not finite.
    """
    pairs = list(itertools.combinations(figures, 2))
    p_values = [wilcoxon(figures[a], figures[b]) for a, b in pairs]
    found = []
    for (a, b), p, p_holm in zip(pairs, p_values, holm(p_values)):
        difference, low, high, _ = paired_bootstrap(figures[a], figures[b], seed)
        found.append(Comparison(a, b, difference, low, high, p, float(p_holm)))
    return found


def _steps(figures: Any, others: Any) -> np.ndarray:
    x, y = np.asarray(figures, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) == 0:
        raise ShapeError(
            f"expected two arrays [S] of the same length, paired by seed; got shapes {list(x.shape)} and {list(y.shape)}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UsageError("paired figures must be finite; leave a failed seed out of both methods and say so")
    return x - y
