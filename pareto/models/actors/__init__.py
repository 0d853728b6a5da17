"""Stored actors of control policies: a folder of safetensors and JSON that turns observations into actions.

A policy of kind "agent" is a folder with `policy.json`; its key `actor` names who reads the folder, its key `actions`
says whether the likeliest action is taken ("mode") or one is drawn ("sample"):

    {"kind": "agent", "actor": "mlp", "actions": "mode", ...what the actor itself needs}

An actor is one file of this room: a final subclass of `Actor` with a class method `load(folder, facts)`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from pareto.errors import ArtifactError
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
    def act(self, observations: Any, draw: np.random.Generator) -> np.ndarray:
        """One action per observation.

        Args:
            observations: [n, ...], as the environment gives them.
            draw: where actions that are drawn come from; a policy that takes the likeliest action leaves it alone.

        Returns:
            [n, ...] actions in the environment's action space.
        """


ACTORS: Registry[type[Actor]] = Registry("actor", "pareto.models.actors")


def load_actor(folder: Path) -> Actor:
    """Read the actor stored in a folder.

    Raises:
        ArtifactError: the folder holds no agent, or names an actor that is not there.
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
    return ACTORS.get(facts["actor"]).load(folder, facts)
