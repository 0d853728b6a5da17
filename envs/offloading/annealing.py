"""Simulated annealing of the parametrised rule, one chain per preference, all of them at once.

A chain begins at the greedy rule of its preference, moves theta by Gaussian steps and judges it by the mean weighted cost of
the same training episodes; a worse theta is kept with probability exp(-increase / temperature), both falling geometrically.

Source: Kirkpatrick, Gelatt, Vecchi (1983), Optimization by simulated annealing. Yang et al. (2025) compare with an "SA" that
they do not describe further; what is annealed here is ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .config import SLOTS, OffloadingConfig
from .heuristics import checked
from .scored import N_PARAMETERS, greedy_theta, mean_costs


def fit(
    preferences: Any,
    config: OffloadingConfig,
    *,
    seed: int,
    episodes: int = 8,
    iterations: int = 60,
    slots: int = SLOTS,
    temperature: tuple[float, float] = (0.02, 0.0005),
    step: tuple[float, float] = (0.3, 0.03),
) -> np.ndarray:
    """Find theta for every preference.

    Args:
        preferences: [P, 2] on the simplex.
        config: the system to learn in.
        seed: of the training episodes and of the moves.
        episodes: K played by every candidate.
        iterations: candidates of each chain.
        slots: decisions in an episode.
        temperature: first and last, as a share of the greedy rule's cost.
        step: first and last standard deviation of a move.

    Returns:
        [P, 4] the best theta of each chain, for `scored.Scored`.
    """
    weights, draw = checked(preferences), np.random.default_rng(seed)
    seeds = range(seed, seed + episodes)
    theta = greedy_theta(weights)

    def judged(candidate: np.ndarray) -> np.ndarray:
        return (mean_costs(candidate, config, seeds, slots) * weights).sum(axis=1)

    cost = judged(theta)
    unit, best, least = cost, theta.copy(), cost.copy()
    for i in range(iterations):
        hot, wide = (a * (b / a) ** (i / max(1, iterations - 1)) for a, b in (temperature, step))
        candidate = theta + wide * draw.standard_normal((len(theta), N_PARAMETERS))
        found = judged(candidate)
        kept = draw.random(len(theta)) < np.exp(np.minimum(0.0, (cost - found) / (hot * unit)))
        theta, cost = np.where(kept[:, None], candidate, theta), np.where(kept, found, cost)
        better = cost < least
        best, least = np.where(better[:, None], theta, best), np.where(better, cost, least)
    return best
