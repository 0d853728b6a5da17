"""Maximum utility loss: how badly the worst-served user fares without the reference front."""

from __future__ import annotations

import numpy as np

from pareto.errors import NumericsError
from pareto.front.dominance import distinct_front
from pareto.front.indicator import Yardstick, indicator


@indicator(
    source="Zintgraf, Kanters, Roijers, Oliehoek and Beau (2015), maximum utility loss",
    better="lower",
    empty=float("inf"),
    needs=("reference_front",),
)
def maximum_utility_loss(points: np.ndarray, yardstick: Yardstick) -> float:
    """Largest utility that any user loses by having the set instead of the reference front.

    `maximum_utility_loss(values, reference_front=..., utilities=None, directions=None) -> float`;
    max_w (max_r u_w(r) - max_a u_w(a)). Without `utilities` over all linear users, exact by one linear programme per
    reference point: by duality also the smallest amount by which mixtures of the set fail to cover the reference front.
    Negative where the set is better for every user.
    """
    assert yardstick.reference_front is not None
    if yardstick.utilities is not None:
        best = yardstick.utilities(points).max(axis=1)
        return float((yardstick.utilities(yardstick.reference_front).max(axis=1) - best).max())
    front, reference = distinct_front(points), distinct_front(yardstick.reference_front)
    bounds = np.array([(r - front).max(axis=1).min() for r in reference])  # what single points fail to cover
    worst = -np.inf
    for k in np.argsort(-bounds):
        if bounds[k] <= worst:
            break  # no mixture can do worse than the best single point, so nothing larger is to come
        worst = max(worst, _loss(reference[k], front))
    return float(worst)


def _loss(target: np.ndarray, front: np.ndarray) -> float:
    """Max over w on the simplex of w.target - max_k w.f_k."""
    from scipy.optimize import linprog

    gaps = target - front  # [n, m]: maximise t with t <= w.gap for every point
    n, m = gaps.shape
    scale = float(np.abs(gaps).max()) or 1.0
    solved = linprog(
        np.r_[np.zeros(m), -1.0],
        A_ub=np.c_[-gaps / scale, np.ones(n)],
        b_ub=np.zeros(n),
        A_eq=np.r_[np.ones(m), 0.0][None],
        b_eq=[1.0],
        bounds=[(0.0, 1.0)] * m + [(None, None)],
        method="highs",
    )
    if not solved.success:
        raise NumericsError(f"the linear programme of maximum_utility_loss failed: {solved.message}")
    return -float(solved.fun) * scale
