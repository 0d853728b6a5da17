"""Whole episodes of a policy, each from a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pareto.tasks.env.vectors import VectorEnvs

Watch = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
"""Hears actions, rewards [E, m], which copies are still playing [E] and whose episode is over [E]."""


@dataclass(frozen=True)
class Episodes:
    """What n episodes gave.

    Args:
        returns: [n, m] float64, discounted, larger is better.
        lengths: [n] steps of each.
        steps: true environment steps they cost, with those of copies that were over and had to go along.
    """

    returns: np.ndarray
    lengths: np.ndarray
    steps: int


def play(
    envs: VectorEnvs,
    act: Callable[[np.ndarray], np.ndarray],
    seeds: Sequence[int],
    gamma: float,
    *,
    in_a_row: int = 1,
    watch: Watch | None = None,
) -> Episodes:
    """Play the same number of episodes in every copy; what a copy does afterwards counts for nothing but the cost.

    Args:
        envs: E copies, with a time limit or sure to end.
        act: observations [E, ...] -> actions, as `VectorEnvs.step` takes them.
        seeds: [E] one seed per copy, so that an episode does not depend on the others.
        gamma: discount.
        in_a_row: episodes per copy, one after the other; n is E times as many, those of a copy beside each other.
        watch: called in every step.
    """
    n, m = envs.copies, len(envs.objectives)
    observations = envs.reset(seeds)
    returns, lengths = np.zeros((n, in_a_row, m)), np.zeros((n, in_a_row), dtype=np.int64)
    copies, at, discount = np.arange(n), np.zeros(n, dtype=np.int64), np.ones(n)
    playing, steps, resting = np.ones(n, dtype=bool), 0, 0
    while playing.any():
        actions = act(observations)
        step = envs.step(actions)
        observations, over = step.observations, step.terminated | step.truncated
        if watch is not None:
            watch(actions, step.rewards, playing, over)
        row = np.minimum(at, in_a_row - 1)
        returns[copies, row] += np.where(playing[:, None], discount[:, None] * step.rewards, 0.0)
        lengths[copies, row] += playing
        steps += n - resting
        discount = np.where(over, 1.0, discount * gamma)
        at += over
        if ((at < in_a_row) != playing).any():
            playing = at < in_a_row
            resting = int(envs.rest(~playing).sum())
    return Episodes(returns.reshape(-1, m), lengths.reshape(-1), steps)
