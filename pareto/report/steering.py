"""Does more weight on an objective deliver more of it? Requested weight against delivered value."""

from __future__ import annotations

import numpy as np

from pareto.objectives import Objectives
from pareto.report.tree import PolicyRow, Steering


def kendall_tau(x: np.ndarray, y: np.ndarray) -> float | None:
    """Kendall's tau-b, which allows for ties: (concordant - discordant) / sqrt((pairs - ties_x)(pairs - ties_y)).

    Args:
        x: [n].
        y: [n].

    Returns:
        In [-1, 1]; None where all x or all y are equal, or n < 2.

    Source: Kendall (1945), The treatment of ties in ranking problems.
    """
    i, j = np.triu_indices(len(x), k=1)
    dx, dy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    scale = np.sqrt(float((dx != 0).sum()) * float((dy != 0).sum()))
    return float((dx * dy).sum() / scale) if scale > 0 else None


def concordance(x: np.ndarray, y: np.ndarray) -> float | None:
    """Share of pairs with different x in which the larger x has the larger or equal y; None without such a pair."""
    i, j = np.triu_indices(len(x), k=1)
    dx, dy = x[i] - x[j], y[i] - y[j]
    told = dx != 0
    return float((dx[told] * dy[told] >= 0).mean()) if told.any() else None


def largest_reversal(x: np.ndarray, y: np.ndarray) -> float | None:
    """The most that y falls from a smaller x to a larger one, >= 0; None without a pair of different x."""
    i, j = np.triu_indices(len(x), k=1)
    dx, dy = x[i] - x[j], y[i] - y[j]
    told = dx != 0
    return float(max(0.0, (-np.sign(dx[told]) * dy[told]).max())) if told.any() else None


def steering(objectives: Objectives, policies: list[PolicyRow]) -> list[Steering]:
    """One row per objective, over the policies that were asked for weights.

    Seeds are taken together: what is asked is whether the weights steer, whatever the seed.
    """
    asked = [(p.weights, p.values) for p in policies if p.weights is not None]
    if not asked:
        return []
    weights = np.array([w for w, _ in asked]).round(9)  # 1/3 written in two ways is one weight
    values = objectives.orient([v for _, v in asked])
    return [
        Steering(
            objective=name,
            tau=kendall_tau(w, v),
            concordant=concordance(w, v),
            largest_reversal=largest_reversal(w, v),
            policies=len(asked),
        )
        for name, w, v in zip(objectives.names, weights.T, values.T)
    ]
