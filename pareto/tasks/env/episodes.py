"""Whole episodes of a policy, each from a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pareto.tasks.env.vectors import VectorEnvs


@dataclass(frozen=True)
class Episodes:
    """What n episodes gave.

    Args:
        returns: [n, m] float64, discounted, larger is better.
        lengths: [n] steps of each.
        steps: true environment steps they cost, those of copies that were over and had to go along included.
        actions: per episode its actions as given to the environment, where they were kept.
        rewards: per episode [length, m], where they were kept.
    """

    returns: np.ndarray
    lengths: np.ndarray
    steps: int
    actions: tuple[np.ndarray, ...] = ()
    rewards: tuple[np.ndarray, ...] = ()


def play(
    envs: VectorEnvs,
    act: Callable[[np.ndarray], np.ndarray],
    seeds: Sequence[int],
    gamma: float,
    *,
    keep: bool = False,
) -> Episodes:
    """Play one episode per copy; what a copy does after its end counts for nothing but the cost.

    Args:
        envs: E copies, with a time limit or sure to end.
        act: observations [E, ...] -> actions, as `VectorEnvs.step` takes them.
        seeds: [E] one seed per copy, so that an episode does not depend on the others.
        gamma: discount.
        keep: keep actions and rewards.
    """
    observations = envs.reset(seeds)
    returns = np.zeros((envs.copies, len(envs.objectives)))
    lengths, discount, steps = np.zeros(envs.copies, dtype=np.int64), 1.0, 0
    running = np.ones(envs.copies, dtype=bool)
    taken, given = [], []
    while running.any():
        actions = act(observations)
        step = envs.step(actions)
        observations = step.observations
        returns += np.where(running[:, None], discount * step.rewards, 0.0)
        lengths += running
        steps += envs.copies
        discount *= gamma
        if keep:
            taken.append(actions)
            given.append(step.rewards)
        running &= ~(step.terminated | step.truncated)
    if not keep:
        return Episodes(returns, lengths, steps)
    all_actions, all_rewards = np.stack(taken, axis=1), np.stack(given, axis=1)
    return Episodes(
        returns,
        lengths,
        steps,
        tuple(a[:k] for a, k in zip(all_actions, lengths)),
        tuple(r[:k] for r, k in zip(all_rewards, lengths)),
    )
