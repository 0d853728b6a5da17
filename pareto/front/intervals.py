"""Uncertainty from a finite number of prompts or episodes: intervals for means and for any indicator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.errors import ShapeError, UsageError
from pareto.front import engines
from pareto.front.gate import admit, numbers, reference
from pareto.front.indicator import finite
from pareto.rng import generator

WIDEN = 1.25
"""Factor on the tails, so that intervals hold the truth at least as often as they say; tests/bench/bench_intervals.py."""

BATCH = 50
"""Resamples drawn at once; part of the random stream."""


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

    x = numbers(scores)
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

    As `indicator_interval`, on the scale of the m-th root: when all policies rise together, the root grows evenly where
    the volume itself grows faster and faster.

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
    x = _scores(scores)
    m = x.shape[2]
    ref = reference(ref_point, m)
    return _bootstrap(x, lambda values: engines.volume(values, ref), 0.0, seed, resamples, level, ids, root=m)


def indicator_interval(
    scores: Any,
    figure: Callable[[np.ndarray], Any],
    empty: float = 0.0,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
    ids: Any = None,
) -> Interval:
    """Interval of any figure of the policies' mean values, by paired bootstrap over units.

    The same resample of units serves all policies. A figure that takes the best of noisy points reads too high, higher
    still on resamples, and higher again on resamples of these: continued backwards to no noise at all, the steps estimate
    the optimism. The lower end is moved down by it, the upper end by the first step only, which is sure. The tails are those
    of the resamples about their mean, widened for few units and by a quarter for what the optimism is uncertain by.

    Args:
        scores: [n_policies, n_units, m] per-unit scores, oriented (larger is better); unit i is the same prompt or episode
            for every policy. A policy with a score that is not finite is set aside and named in `quarantined`.
        figure: mean values [n, m], clean, n >= 1 -> number, such as `lambda v: sparsity(v)`.
        empty: the figure of no policies.
        seed: of the resampling.
        resamples: number of bootstrap resamples.
        level: confidence level.
        ids: [n_policies] names for `quarantined`.

    Returns:
        Interval; both ends NaN where there is one unit only.

    Raises:
        ShapeError: wrong shapes or no units.
        UsageError: a level outside (0, 1), or no resamples.
    Source: Efron and Tibshirani (1993), chapter 10, bias by bootstrap; Cook and Stefanski (1994), extrapolation from added
        noise to none (SIMEX); Hesterberg (2015), widening for few units.
    """
    return _bootstrap(_scores(scores), figure, empty, seed, resamples, level, ids)


def _bootstrap(
    scores: np.ndarray,
    figure: Callable[[np.ndarray], Any],
    empty: float,
    seed: int,
    resamples: int,
    level: float,
    ids: Any,
    root: int = 1,
) -> Interval:
    """The interval of figure^(1/root), raised to that power again; a root needs figures >= 0."""
    if not 0 < level < 1 or resamples < 1:
        raise UsageError(f"level must lie in (0, 1) and resamples be >= 1; got {level} and {resamples}")
    with np.errstate(invalid="ignore"):
        gate = admit(scores.mean(axis=1), ids=ids)
    units = scores.shape[1]
    if len(gate) == 0:
        return Interval(empty, empty, empty, 0.0, level, units, resamples, gate.quarantined)
    value = finite(float(figure(gate.values)), "the figure")
    if units == 1:
        return Interval(value, np.nan, np.nan, 0.0, level, units, resamples, gate.quarantined)
    pairs = [
        [float(figure(v)) for v in both] for both in _resampled_means(scores[gate.kept], seed, resamples)
    ]
    once, twice = np.array(pairs).T ** (1 / root)
    straight = value ** (1 / root)
    optimism = _extrapolate(straight, once.mean(), twice.mean())
    step = min(optimism, once.mean() - straight)  # what is sure of it: the upper end comes down by no more
    tails = np.quantile(once, [(1 + level) / 2, (1 - level) / 2]) - once.mean()
    away = WIDEN * _few_units(units, level) * tails
    ends = [straight - optimism, straight - optimism - away[0], straight - step - away[1]]
    if root > 1:
        ends = [max(x, 0.0) ** root for x in ends]
    corrected, low, high = (float(x) for x in ends)
    return Interval(
        value,
        min(value, low),
        max(value, high),
        value - corrected,
        level,
        units,
        resamples,
        gate.quarantined,
    )


def _extrapolate(value: float, once: float, twice: float) -> float:
    """How much a figure rose when noise was added for the first time, from how it rises for the second and third.

    The data hold one helping of noise, a resample of them two, a resample of that three. With the figure growing as
    truth + rise * helpings^a, both steps give a, and a the rise: a = 1 where the figure bends smoothly, 1/2 where it is the
    largest of equals.
    """
    second, third = once - value, twice - once
    if second <= 0:
        return float(second)
    powers = np.linspace(0.5, 1.0, 51)
    expected = (3**powers - 2**powers) / (2**powers - 1)  # rises from 0.77 to 1
    a = powers[np.abs(expected - third / second).argmin()]
    return float(second / (2**a - 1))


def _resampled_means(scores: np.ndarray, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Mean values [2, n, m] of a resample of the units and of a resample of that; the same for every policy."""
    n, units, m = scores.shape
    by_unit = np.ascontiguousarray(scores.transpose(1, 0, 2)).reshape(units, n * m)
    rng = generator("paired bootstrap over units", seed)
    shares = np.full(units, 1.0 / units)
    for start in range(0, resamples, BATCH):
        once = rng.multinomial(units, shares, size=min(BATCH, resamples - start))
        twice = rng.multinomial(units, once / units)
        counts = np.stack([once, twice], axis=1).astype(np.float64)
        yield from (counts @ by_unit / units).reshape(-1, 2, n, m)


def _few_units(units: int, level: float) -> float:
    """How much wider than a bootstrap's an interval must be: its spread divides by n, and its tails are normal."""
    from scipy.special import ndtri, stdtrit

    p = (1 + level) / 2
    return float(np.sqrt(units / (units - 1)) * stdtrit(units - 1, p) / ndtri(p))


def _scores(scores: Any) -> np.ndarray:
    x = numbers(scores)
    if x.ndim != 3 or x.shape[1] == 0:
        raise ShapeError(
            f"expected scores [n_policies, n_units, m] with n_units >= 1; got shape {list(x.shape)}"
        )
    return x
