"""Uncertainty from a finite number of prompts or episodes: intervals for means and for any indicator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.errors import ShapeError, UsageError
from pareto.front import engines
from pareto.front.gate import Points, admit, reference
from pareto.rng import generator


@dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Args:
        value: the figure at the measured means; optimistic where it takes a maximum over noisy points.
        low: lower end.
        high: upper end; the interval always contains `value`.
        optimism: bootstrap estimate of how much `value` lies above the truth on average.
        level: share of repetitions in which the interval holds the truth.
        units: number of prompts or episodes that it rests on.
        resamples: number of bootstrap resamples.
        quarantined: policies set aside because of NaN or infinity, (id, why).
    """

    value: float
    low: float
    high: float
    optimism: float
    level: float
    units: int
    resamples: int
    quarantined: tuple[tuple[str, str], ...] = ()


def mean_interval(scores: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a mean over units, by Student's t.

    Args:
        scores: [..., n_units, m] per-unit scores: of one policy [n_units, m] or of several [n_policies, n_units, m].
        level: confidence level in (0, 1).

    Returns:
        (low, high), each [..., m]; both NaN where there is one unit only or a score is not finite.

    Raises:
        ShapeError: fewer than two axes, or no units.
    """
    from scipy.special import stdtrit

    x = np.asarray(scores, dtype=np.float64)
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ShapeError(f"expected scores [..., n_units, m] with n_units >= 1; got shape {list(x.shape)}")
    n = x.shape[-2]
    x = np.where(np.isfinite(x).all(axis=-2, keepdims=True), x, np.nan)
    mean = x.mean(axis=-2)
    if n == 1:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stdtrit(n - 1, (1 + level) / 2) * x.std(axis=-2, ddof=1) / np.sqrt(n)
    return mean - half, mean + half


def hypervolume_interval(
    scores: Any,
    ref_point: Any,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
    ids: Any = None,
) -> Interval:
    """Interval of the hypervolume of policies measured on the same units, by paired bootstrap.

    Args:
        scores: [n_policies, n_units, m] per-unit scores, oriented (larger is better); unit i is the same prompt or episode
            for every policy. A policy with a score that is not finite is set aside and named in `quarantined`.
        ref_point: [m], oriented, fixed before these scores were seen.
        seed: of the resampling.
        resamples: number of bootstrap resamples.
        level: confidence level.
        ids: [n_policies] names for `quarantined`.

    Returns:
        Interval; see `indicator_interval`.

    Raises:
        ShapeError: wrong shapes.
        UsageError: the reference point is not finite.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 3:
        raise ShapeError(f"expected scores [n_policies, n_units, m]; got shape {list(x.shape)}")
    ref = reference(ref_point, x.shape[2])
    return indicator_interval(x, lambda values: engines.volume(values, ref), 0.0, seed, resamples, level, ids)


def indicator_interval(
    scores: Any,
    figure: Callable[[np.ndarray], float],
    empty: float = 0.0,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
    ids: Any = None,
) -> Interval:
    """Interval of any figure of the policies' mean values, by paired bootstrap over units.

    The same resample of units serves all policies. A figure that takes the best of noisy points reads too high; a second
    resample drawn from each first one measures how much, and the interval is moved down by that optimism.

    Args:
        scores: [n_policies, n_units, m] per-unit scores, oriented (larger is better).
        figure: mean values [n, m], clean, n >= 1 -> float.
        empty: the figure of no policies.
        seed: of the resampling.
        resamples: number of bootstrap resamples.
        level: confidence level.
        ids: [n_policies] names for `quarantined`.

    Returns:
        Interval.

    Raises:
        ShapeError: wrong shapes or no units.
        UsageError: a level outside (0, 1), or no resamples.
    """
    clean, gate = _clean(scores, ids)
    units = clean.shape[1]
    if not 0 < level < 1 or resamples < 1:
        raise UsageError(f"level must lie in (0, 1) and resamples be >= 1; got {level} and {resamples}")
    if len(clean) == 0:
        return Interval(empty, empty, empty, 0.0, level, units, resamples, gate.quarantined)
    rng = generator("indicator_interval", seed)
    value = float(figure(gate.values))
    shares = np.full(units, 1.0 / units)
    once, twice = np.empty(resamples), np.empty(resamples)
    for b in range(resamples):
        first = rng.multinomial(units, shares)
        second = rng.multinomial(units, first / units)
        once[b] = figure(np.einsum("pum,u->pm", clean, first) / units)
        twice[b] = figure(np.einsum("pum,u->pm", clean, second) / units)
    # bias of the bootstrap itself is estimated once more: b1 + (b1 - b2), where b2 is the step from once to twice
    optimism = 2 * (once.mean() - value) - (twice.mean() - once.mean())
    tails = np.quantile(once - once.mean(), [(1 - level) / 2, (1 + level) / 2])
    centre = value - optimism
    return Interval(
        value,
        float(min(value, centre - tails[1])),
        float(max(value, centre - tails[0])),
        float(optimism),
        level,
        units,
        resamples,
        gate.quarantined,
    )


def _clean(scores: Any, ids: Any) -> tuple[np.ndarray, Points]:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 3 or x.shape[1] == 0:
        raise ShapeError(
            f"expected scores [n_policies, n_units, m] with n_units >= 1; got shape {list(x.shape)}"
        )
    with np.errstate(invalid="ignore"):
        gate = admit(x.mean(axis=1), ids=ids)
    return x[gate.kept], gate
