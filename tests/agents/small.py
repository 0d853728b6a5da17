"""Small tasks for tests of agents."""

from __future__ import annotations

import torch

from pareto.tasks.env import EnvTask

SEA = {"id": "pareto/DeepSeaTreasure-v0", "selection_episodes": 1, "heldout_episodes": 1}
CART = {"id": "pareto/Minecart-v0", "selection_episodes": 2, "heldout_episodes": 3, "max_episode_steps": 40}


def sea(**settings) -> EnvTask:
    """Deep-sea treasure, convex."""
    return EnvTask(**{**SEA, **settings})


def cart(**settings) -> EnvTask:
    """Minecart, short episodes."""
    return EnvTask(**{**CART, **settings})


def seeded(seed: int = 0) -> torch.Generator:
    """A torch generator."""
    return torch.Generator().manual_seed(seed)
