"""Whole episodes of a policy, each from a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv


@dataclass(frozen=True)
class Episodes:
    """What n episodes gave.

    Args:
        returns: [n, m] float64, discounted returns.
        lengths: [n] steps of each.
        steps: environment steps simulated for them, idle copies included.
        actions: per episode its actions, where they were kept.
        rewards: per episode [length, m], where they were kept.
    """

    returns: np.ndarray
    lengths: np.ndarray
    steps: int
    actions: tuple[np.ndarray, ...] = ()
    rewards: tuple[np.ndarray, ...] = ()


def play(
    env: VectorEnv[Any, Any, Any],
    act: Callable[[Any], np.ndarray],
    seeds: Sequence[int],
    gamma: float,
    *,
    keep: bool = False,
) -> Episodes:
    """Play one episode per copy and nothing more of any copy.

    Args:
        env: n copies (see `pareto.tasks.env.vectors`), with a time limit or sure to end.
        act: observations [n, ...] -> actions [n, ...].
        seeds: [n] one seed per copy, so that an episode does not depend on the others.
        gamma: discount.
        keep: keep actions and rewards.
    """
    n = env.num_envs
    observations, _ = env.reset(seed=[int(s) for s in seeds])
    returns: np.ndarray | None = None
    lengths, discount = np.zeros(n, dtype=np.int64), 1.0
    running = np.ones(n, dtype=bool)
    taken, given, steps = [], [], 0
    while running.any():
        actions = act(observations)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        rewards = np.asarray(rewards, dtype=np.float64)
        returns = np.zeros_like(rewards) if returns is None else returns
        returns += np.where(running[:, None], discount * rewards, 0.0)
        lengths += running
        steps += n
        discount *= gamma
        if keep:
            taken.append(actions)
            given.append(rewards)
        running &= ~(terminated | truncated)
    assert returns is not None
    if not keep:
        return Episodes(returns, lengths, steps)
    actions, rewards = np.stack(taken, axis=1), np.stack(given, axis=1)
    return Episodes(
        returns,
        lengths,
        steps,
        tuple(a[:k] for a, k in zip(actions, lengths)),
        tuple(r[:k] for r, k in zip(rewards, lengths)),
    )
