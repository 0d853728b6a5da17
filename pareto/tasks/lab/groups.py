"""What a policy is truly worth to each group of the lab's users, and what max-min could give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.front import mean_interval
from pareto.models.max_min import Draws, MaxMin, max_min
from pareto.tasks.lab import exact
from pareto.tasks.lab.world import World


def care(world: World, prompts: np.ndarray) -> np.ndarray:
    """[G, p, m] on the simplex: how much each objective matters to a group at a prompt, its taste times the importance."""
    raw = world.tastes[:, None] * world.importance[None, prompts]
    return raw / raw.sum(axis=-1, keepdims=True)


def group_rewards(world: World, prompts: np.ndarray) -> np.ndarray:
    """[G, p, Y]: the reward by which a group's users choose."""
    return np.einsum("gpm,mpy->gpy", care(world, prompts), world.rewards()[:, prompts])


def group_figures(
    world: World, prompts: np.ndarray, logps: np.ndarray, ref_logps: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Expected utility of every group under a policy, exact for each prompt.

    Args:
        world: with tastes of groups, or importance of prompts.
        prompts: [p] prompt indices.
        logps: [p, Y] enumerated policy.
        ref_logps: [p, Y] enumerated reference.

    Returns:
        group -> utility with its 95 % interval over prompts (low, high), and gain over the reference with its own.
    """
    rewards = group_rewards(world, prompts)
    own, reference = (np.einsum("py,gpy->pg", np.exp(x), rewards) for x in (logps, ref_logps))
    low, high = mean_interval(own)
    gain_low, gain_high = mean_interval(own - reference)
    return {
        f"group {g}": {
            "utility": float(own[:, g].mean()),
            "low": float(low[g]),
            "high": float(high[g]),
            "gain": float((own - reference)[:, g].mean()),
            "gain_low": float(gain_low[g]),
            "gain_high": float(gain_high[g]),
        }
        for g in range(len(rewards))
    }


def exact_max_min(world: World, prompts: np.ndarray, ref_logps: np.ndarray, beta: float) -> MaxMin:
    """The game of the true groups, solved on the enumeration.

    Args:
        world: with tastes.
        prompts: [p] prompt indices.
        ref_logps: [p, Y].
        beta: > 0.
    """
    rewards = group_rewards(world, prompts)
    draws = Draws(np.repeat(np.arange(len(prompts)), rewards.shape[-1]), ref_logps.reshape(-1))
    return max_min(rewards.reshape(len(rewards), -1).T, draws, beta)


def prompt_optimum(
    world: World, prompts: np.ndarray, ref_logps: np.ndarray, weights: np.ndarray, beta: float
) -> np.ndarray:
    """[p, Y] log-probabilities of the optimal policy with weights of its own at every prompt.

    Args:
        world: the problem.
        prompts: [p] prompt indices.
        ref_logps: [p, Y].
        weights: [p, m], a row a prompt.
        beta: > 0.
    """
    rewards = np.einsum("pm,mpy->py", weights, world.rewards()[:, prompts])
    return exact.tilt(ref_logps, rewards / beta)
