"""Episodes of policies, state by state, with what followed every state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pareto import rng
from pareto.agents.evaluating import in_a_row
from pareto.models.actors.composed import follow
from pareto.models.actors.mlp import MLPActor
from pareto.tasks.env.episodes import play
from pareto.tasks.env.task import EnvTask


@dataclass(frozen=True)
class Watched:
    """Episodes of K policies, state by state.

    Args:
        states: [K] raw observations [n_k, d] in which each policy acted.
        worth: [K] what followed them [n_k, m]: discounted returns to the end of the episode.
        returns: [K, n, m] of the episodes.
        steps: true environment steps.
    """

    states: list[np.ndarray]
    worth: list[np.ndarray]
    returns: np.ndarray
    steps: int


def watched(
    task: EnvTask,
    policies: Sequence[MLPActor],
    episodes: int,
    *,
    begun: float = 0.0,
    max_episode_steps: int | None,
    seed: int,
    label: str,
) -> Watched:
    """Play n episodes with each of K policies.

    Args:
        task: where.
        policies: [K].
        episodes: n per policy.
        begun: above 0, another of the policies, drawn, is followed at first, for a number of steps up to this, drawn as well;
            what counts is what came afterwards. So a policy is seen where others lead, and not on its own way alone. The
            returns are then of both together.
        max_episode_steps: time limit; None keeps the task's.
        seed: study seed.
        label: another label is other episodes; none of them is among those the task scores by.
    """
    k, row = len(policies), in_a_row(episodes)
    each = episodes // row
    copies, own = k * each, np.repeat(np.arange(k), each)
    draw = rng.generator("watched", label, seed)
    beginners, until = draw.integers(k, size=copies), begun * draw.random(copies)
    clock = np.zeros(copies)
    heard: dict[str, list[np.ndarray]] = {"seen": [], "counts": [], "rewards": [], "over": []}

    def act(seen: np.ndarray) -> np.ndarray:
        heard["seen"].append(np.array(seen, dtype=np.float32).reshape(copies, -1))
        itself = clock >= until
        heard["counts"].append(itself)
        followed = np.where(itself, own, beginners)
        return follow(followed, heard["seen"][-1], lambda j, rows: policies[j].act(rows, draw))

    def watch(_: np.ndarray, rewards: np.ndarray, playing: np.ndarray, over: np.ndarray) -> None:
        heard["counts"][-1] &= playing
        heard["rewards"].append(rewards.copy())
        heard["over"].append(over.copy())
        clock[:] = np.where(over, 0.0, clock + 1)
        n = int(over.sum())
        beginners[over], until[over] = draw.integers(k, size=n), begun * draw.random(n)

    seeds = [rng.derive_seed("watched", label, seed, i) for i in range(each)] * k
    with task.open(copies, max_episode_steps=max_episode_steps) as envs:
        played = play(envs, act, seeds, task.discount, in_a_row=row, watch=watch)
    seen, counts, rewards, over = (np.stack(heard[name]) for name in heard)
    worth = returns_to_go(rewards, over, task.discount)
    parts = [np.s_[:, i * each : (i + 1) * each] for i in range(k)]
    return Watched(
        [seen[part][counts[part]] for part in parts],
        [worth[part][counts[part]] for part in parts],
        played.returns.reshape(k, episodes, -1),
        played.steps,
    )


def returns_to_go(rewards: np.ndarray, over: np.ndarray, gamma: float) -> np.ndarray:
    """[T, ..., m] discounted sums of rewards [T, ..., m] from every step to the end of its episode, over [T, ...]."""
    worth = np.zeros_like(rewards, dtype=np.float64)
    ahead = np.zeros(rewards.shape[1:])
    for t in reversed(range(len(rewards))):
        worth[t] = ahead = rewards[t] + gamma * np.where(over[t][..., None], 0.0, ahead)
    return worth
