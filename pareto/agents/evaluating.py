"""Fresh episodes of policies at rest: the evidence that decides what enters an archive."""

from __future__ import annotations

import numpy as np
import torch

from pareto import rng
from pareto.agents.collecting import Scaler
from pareto.agents.learning import Networked
from pareto.agents.population import Snapshots
from pareto.models.actors.mlp import Deployed
from pareto.tasks.env.episodes import play

IN_A_ROW = 4
"""Most episodes a copy plays one after the other."""


def in_a_row(episodes: int) -> int:
    """How many of so many episodes a copy plays one after the other, the same number in every copy."""
    return max(r for r in range(1, IN_A_ROW + 1) if episodes % r == 0)


def evaluate(
    networked: Networked,
    policies: Snapshots,
    episodes: int,
    actions: Deployed,
    *,
    max_episode_steps: int | None,
    seed: int,
    label: str,
) -> tuple[np.ndarray, int]:
    """Play the same number of episodes with each of K policies, all at once.

    A copy plays up to `IN_A_ROW` episodes one after the other, so that copies which are over early wait less for the last.

    Args:
        networked: the task and the networks.
        policies: K of them.
        episodes: n per policy.
        actions: how the policies act.
        max_episode_steps: time limit; None keeps the task's.
        seed: study seed.
        label: another label is other episodes; none of them is among those the task scores by.

    Returns:
        (returns [K, n, m] discounted, larger is better; true environment steps).
    """
    task, networks, k = networked.task, networked.networks, len(policies)
    row = in_a_row(episodes)
    each = episodes // row
    views, scaler = networks.views(policies.parameters), Scaler(policies.observed)
    draw = torch.Generator().manual_seed(rng.derive_seed("evaluation actions", label, seed))
    seeds = [rng.derive_seed("evaluation", label, seed, i) for i in range(each)] * k

    @torch.no_grad()
    def act(seen: np.ndarray) -> np.ndarray:
        raw = torch.from_numpy(seen.astype(np.float32, copy=False)).view(k, each, -1)
        outputs = networks.actor(views, scaler(raw))
        head = networks.head
        chosen = head.mode(outputs) if actions == "mode" else head.sample(outputs, views, draw)
        return chosen.flatten(0, 1).numpy()

    with task.open(k * each, max_episode_steps=max_episode_steps) as envs:
        played = play(envs, act, seeds, task.discount, in_a_row=row)
    return played.returns.reshape(k, episodes, -1), played.steps
