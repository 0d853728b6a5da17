"""Stored actors of control policies: a folder of safetensors and JSON that turns observations into actions.

A policy of kind "agent" is a folder with `policy.json`, whose key `actor` names who reads the folder. `spaces` are the
environment's own; what an actor sees and gives are arrays, encoded as `pareto.models.spaces` says:

    {"kind": "agent", "actor": "mlp", "spaces": {"observation": {...}, "action": {...}}, ...what the actor needs}

An actor is one file of this room: a final subclass of `Actor` with a class method `load(folder, facts)`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from pareto.errors import ArtifactError
from pareto.models.spaces import Actions, Observations, space_from_json, space_to_json
from pareto.registry import Registry


class Actor(ABC):
    """A policy on many observations at once."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read a stored actor.

        Args:
            folder: the policy's files.
            facts: the content of its policy.json.
        """

    @abstractmethod
    def act(self, observations: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """One action per observation.

        Args:
            observations: [n, ...], encoded (`pareto.models.spaces.Observations`).
            draw: where actions that are drawn come from; a policy that takes the likeliest action leaves it alone.

        Returns:
            int64 [n] from 0 where actions are discrete, else float [n, size] whose bounded axes span [-1, 1]: what
            `pareto.models.spaces.Actions` decodes and `pareto.tasks.env.vectors.VectorEnvs.step` takes.
        """


@runtime_checkable
class Conditioned(Protocol):
    """An actor that sees weights: it can act at any others."""

    def at(self, weights: np.ndarray) -> Actor:
        """The policy for other weights [m]."""
        ...


ACTORS: Registry[type[Actor]] = Registry("actor", "pareto.models.actors")


def agent_facts(actor: str, observations: Observations, actions: Actions) -> dict[str, Any]:
    """What every policy.json of an agent says."""
    told = {"observation": space_to_json(observations.space), "action": space_to_json(actions.space)}
    return {"kind": "agent", "actor": actor, "spaces": told}


def read_facts(folder: Path) -> dict[str, Any]:
    """The policy.json of an agent.

    Raises:
        ArtifactError: the folder holds no agent.
    """
    path = folder / "policy.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"expected the policy of an agent in {path}; {error}") from error
    if facts.get("kind") != "agent" or not isinstance(facts.get("actor"), str):
        raise ArtifactError(
            f"{path} must say kind 'agent' and name its actor; got kind {facts.get('kind')!r} "
            f"and actor {facts.get('actor')!r}"
        )
    return facts


def load_actor(folder: Path) -> Actor:
    """Read the actor stored in a folder.

    Raises:
        ArtifactError: the folder holds no agent, or its files are not what they should be.
        UnknownNameError: it names an actor that is not there.
    """
    facts = read_facts(folder)
    return ACTORS.get(facts["actor"]).load(folder, facts)


def load_spaces(folder: Path) -> tuple[Observations, Actions]:
    """How the observations of an agent's environment are encoded, and its actions decoded."""
    told = read_facts(folder)["spaces"]
    return Observations(space_from_json(told["observation"])), Actions(space_from_json(told["action"]))
