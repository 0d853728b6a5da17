"""A finite policy as a table: what to do at each observation it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from pareto.errors import ArtifactError
from pareto.models.actors import ACTORS, Actor
from pareto.state import atomic

TENSORS = "actor.safetensors"


@ACTORS.register("table", source="tabular policies; Sutton and Barto (2018)")
@final
class TableActor(Actor):
    """One action per known observation; the nearest known one decides where an observation is new.

    Args:
        observations: [k, d] float32, encoded; no two alike.
        choices: [k] int64, the action at each.
    """

    def __init__(self, observations: np.ndarray, choices: np.ndarray) -> None:
        self.observations, self.choices = np.ascontiguousarray(observations, dtype=np.float32), choices
        self._rows = {row.tobytes(): i for i, row in enumerate(self.observations)}

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        try:
            tensors = load_file(folder / TENSORS)
            return cls(tensors["observations"], tensors["choices"])
        except (OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{folder} does not hold a stored table: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the table as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        from safetensors.numpy import save

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"observations": self.observations, "choices": self.choices.astype(np.int64)}
        atomic.write_bytes(folder / TENSORS, save(tensors))
        atomic.write_json(folder / "policy.json", dict(facts))

    def act(self, observations: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """The table's action for each observation [n, d]."""
        rows = np.ascontiguousarray(observations, dtype=np.float32)
        return self.choices[[self._row(row) for row in rows]]

    def _row(self, observation: np.ndarray) -> int:
        found = self._rows.get(observation.tobytes())
        if found is not None:
            return found
        return int(np.square(self.observations - observation).sum(axis=1).argmin())
