"""Play episodes with a rule under many preferences, every preference on the same episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .config import SLOTS, OffloadingConfig
from .heuristics import Rule
from .vector import OffloadingVector

COPIES = 4096
"""Copies played side by side: enough for array operations, little enough memory."""


def episode_costs(
    rule: Rule, config: OffloadingConfig, seeds: Sequence[int], slots: int = SLOTS
) -> np.ndarray:
    """Play one episode per seed; total delay in s and energy in J of each: [n, 2]."""
    vector = OffloadingVector(len(seeds), config=config)
    observations, _ = vector.reset(seed=seeds)
    costs = np.zeros((len(seeds), 2))
    for _ in range(slots):
        observations, rewards, *_ = vector.step(rule.act(observations))
        costs -= rewards
    return costs


def preference_costs(
    rule: Callable[[np.ndarray], Rule],
    n_preferences: int,
    config: OffloadingConfig,
    seeds: Sequence[int],
    slots: int = SLOTS,
) -> np.ndarray:
    """Play every preference on every seed.

    Args:
        rule: makes a rule for n copies from the index [n] of each copy's preference.
        n_preferences: P.
        config: the system.
        seeds: [K], one per episode.
        slots: decisions in an episode.

    Returns:
        [P, K, 2] total delay in s and energy in J.
    """
    at_once = max(1, COPIES // len(seeds))
    parts = []
    for first in range(0, n_preferences, at_once):
        some = np.arange(first, min(first + at_once, n_preferences))
        costs = episode_costs(rule(np.repeat(some, len(seeds))), config, list(seeds) * len(some), slots)
        parts.append(costs.reshape(len(some), len(seeds), 2))
    return np.concatenate(parts)
