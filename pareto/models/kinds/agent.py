"""Policies that act in an environment, stored as an actor; see `pareto.models.actors`."""

from __future__ import annotations

from typing import Any

from pareto import rng
from pareto.models.actors import Actor, load_actor, load_spaces
from pareto.models.spaces import Actions, Observations
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import LOADERS, PolicySet


class AgentPolicy:
    """A stored actor behind the `ActPolicy` protocol: observations and actions as the environment has them.

    Args:
        actor: the actor.
        observations: how observations are encoded.
        actions: how its actions are decoded.
        objectives: of the run it belongs to.
        seed: of the actions a stochastic policy draws.
    """

    def __init__(
        self,
        actor: Actor,
        observations: Observations,
        actions: Actions,
        objectives: Objectives,
        seed: int = 0,
    ) -> None:
        self.actor, self.objectives = actor, objectives
        self.observations, self.actions = observations, actions
        self._draw = rng.generator("agent actions", seed)

    def act(self, observation: Any) -> Any:
        """An action for one observation, as the environment's `step` takes it."""
        seen = self.observations.encode_one(observation)[None]
        return self.actions.decode(self.actor.act(seen, self._draw), 1)[0]


@LOADERS.register("agent", source="this suite: safetensors beside policy.json, numpy where that will do")
def load_agent(run: PolicySet, record: PolicyRecord) -> AgentPolicy:
    """Load a stored agent, ready to act."""
    folder = run.folder / "policies" / record.id
    return AgentPolicy(load_actor(folder), *load_spaces(folder), run.objectives)
