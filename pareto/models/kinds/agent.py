"""Policies that act in an environment, stored as an actor; see `pareto.models.actors`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto import rng
from pareto.models.actors import Actor, load_actor
from pareto.objectives import Objectives
from pareto.policy_set import LOADERS, PolicyRecord, PolicySet


class AgentPolicy:
    """A stored actor behind the `ActPolicy` protocol.

    Args:
        actor: the actor.
        objectives: of the run it belongs to.
        seed: of the actions a stochastic policy draws.
    """

    def __init__(self, actor: Actor, objectives: Objectives, seed: int = 0) -> None:
        self.actor, self.objectives = actor, objectives
        self._draw = rng.generator("agent actions", seed)

    def act(self, observation: Any) -> Any:
        """An action for one observation, as the environment's `step` takes it."""
        single = (
            {name: np.asarray(part)[None] for name, part in observation.items()}
            if isinstance(observation, dict)
            else np.asarray(observation)[None]
        )
        return self.actor.act(single, self._draw)[0]

    def act_batch(self, observations: Any) -> np.ndarray:
        """[n, ...] actions for observations [n, ...]."""
        return self.actor.act(observations, self._draw)


@LOADERS.register("agent", source="this suite: actor.safetensors beside policy.json")
def load_agent(run: PolicySet, record: PolicyRecord) -> AgentPolicy:
    """Load a stored agent, ready to act."""
    return AgentPolicy(load_actor(run.folder / "policies" / record.id), run.objectives)
