"""Comparing fronts of language-model policies at equal distance from the reference policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.errors import ShapeError, UsageError
from pareto.front import engines
from pareto.front.gate import Points, admit, reference


@dataclass(frozen=True)
class EqualKL:
    """Hypervolumes of two methods within the same limits on KL to the reference.

    Args:
        limits_nats: [k] rising; both methods are held to each limit.
        first: [k] hypervolume of the first method's policies with KL <= limit.
        second: [k] the same of the second method.
        ratio: mean of first over mean of second, KL integrated over the limits; NaN where the second has none.
        common_limit_nats: the smaller of the two methods' largest KL: the last limit at which both are complete or capped
            alike.
        ratio_at_common_limit: first over second at that limit; NaN where the second has none.
    """

    limits_nats: np.ndarray
    first: np.ndarray
    second: np.ndarray
    ratio: float
    common_limit_nats: float
    ratio_at_common_limit: float


def hypervolume_within_kl(
    values: Any,
    kl_nats: Any,
    ref_point: Any,
    limits_nats: Any,
    directions: Sequence[str] | None = None,
) -> np.ndarray:
    """Hypervolume of the policies that stay within each limit on KL to the reference policy.

    A policy can score more simply by drifting further; this says what a method reaches for what it spends.

    Args:
        values: [n, m] in the objectives' own directions.
        kl_nats: [n] KL of each policy to the reference, nats, >= 0; a policy whose KL is not finite is never within.
        ref_point: [m] or one number, in the objectives' own directions.
        limits_nats: [k] limits.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [k] float64, rising with the limit.

    Raises:
        ShapeError: wrong shapes.
        UsageError: a reference point that is not finite, or KL below 0.
    """
    points, kl = _priced(values, kl_nats, directions)
    ref = reference(ref_point, points.m, directions)
    limits = np.asarray(limits_nats, dtype=np.float64).ravel()
    return np.array([_within(points.values, kl, ref, limit) for limit in limits])


def equal_kl(
    values: Any,
    kl_nats: Any,
    other_values: Any,
    other_kl_nats: Any,
    ref_point: Any,
    directions: Sequence[str] | None = None,
) -> EqualKL:
    """Compare two methods' fronts at equal KL to the reference policy.

    Limits are all KL values of either method up to the common limit, so that nothing changes between two of them.

    Args:
        values: [n, m] of the first method's policies, in the objectives' own directions.
        kl_nats: [n] their KL to the reference, nats.
        other_values: [k, m] of the second method's policies.
        other_kl_nats: [k] their KL to the reference, nats.
        ref_point: [m] or one number, the same for both methods.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        EqualKL.

    Raises:
        ShapeError: wrong shapes.
        UsageError: a method without a policy of finite values and KL, a reference point that is not finite, KL below 0.
    """
    first, first_kl = _priced(values, kl_nats, directions)
    second, second_kl = _priced(other_values, other_kl_nats, directions)
    known = [kl[np.isfinite(kl)] for kl in (first_kl, second_kl)]
    if not all(len(kl) for kl in known):
        raise UsageError(
            "an equal-KL comparison needs at least one policy with finite values and KL per method"
        )
    ref = reference(ref_point, first.m, directions)
    reference(ref_point, second.m, directions)  # both methods have as many objectives as it has
    common = float(min(kl.max() for kl in known))
    limits = np.unique(np.r_[0.0, *known])
    limits = limits[limits <= common]
    a = np.array([_within(first.values, first_kl, ref, x) for x in limits])
    b = np.array([_within(second.values, second_kl, ref, x) for x in limits])
    steps = np.diff(limits)
    return EqualKL(
        limits, a, b, _ratio(float(steps @ a[:-1]), float(steps @ b[:-1])), common, _ratio(a[-1], b[-1])
    )


def _priced(values: Any, kl_nats: Any, directions: Sequence[str] | None) -> tuple[Points, np.ndarray]:
    points = admit(values, directions=directions)
    points.warn(stacklevel=4)
    kl = np.asarray(kl_nats, dtype=np.float64)
    if kl.shape != (len(points.kept),):
        raise ShapeError(
            f"{len(points.kept)} policies need {len(points.kept)} KL values; got shape {list(kl.shape)}"
        )
    if (kl < 0).any():
        raise UsageError(f"KL to the reference cannot be negative; got {kl.min()}")
    return points, kl[points.kept]


def _within(values: np.ndarray, kl: np.ndarray, ref: np.ndarray, limit: float) -> float:
    chosen = values[kl <= limit]
    return engines.volume(chosen, ref) if len(chosen) else 0.0


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b > 0 else float("nan")
