"""One perceptron for all weights: it sees the weights beside the observation; at fixed weights it is a plain one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from pareto.errors import ArtifactError
from pareto.models.actors import ACTORS, Actor
from pareto.models.actors.mlp import Deployed, MLPActor


@ACTORS.register("conditioned_mlp", source="Abels et al. (2019), networks conditioned on weights")
@final
class ConditionedMLP(Actor):
    """A tanh perceptron over (observation, weights), acting at the weights it was stored for or at any others.

    Args:
        network: over [d + m] inputs, the weights last; its outputs are logits or means, or value vectors.
        weights: [m] it acts at.
        values: the outputs are Q-vectors [A, m], flattened; an action's logit is w.Q.
    """

    def __init__(self, network: MLPActor, weights: np.ndarray, *, values: bool = False) -> None:
        self.network, self.weights, self.values = network, np.asarray(weights, dtype=np.float64), values
        self._plain = self.at(self.weights)

    def at(self, weights: np.ndarray) -> MLPActor:
        """The plain perceptron that this one is at fixed weights [m]; nothing is approximated.

        The first layer's rows that belong to the weights become part of its bias; Q-vectors are multiplied by w.
        """
        m, n = len(weights), self.network
        d = len(n.offset) - m
        seen = np.clip((weights - n.offset[d:]) * n.scale[d:], -10.0, 10.0)
        first, bias = n.layers[0]
        layers = [(first[:d], bias + seen @ first[d:]), *n.layers[1:]]
        if self.values:
            last, bias = layers[-1]
            layers[-1] = (last.reshape(len(last), -1, m) @ weights, bias.reshape(-1, m) @ weights)
        plain = [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]
        deployed: Deployed = "sample" if n.actions == "sample" else "mode"
        return MLPActor(plain, n.offset[:d], n.scale[:d], deployed, n.log_std)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote."""
        try:
            weights, values = np.array(facts["conditioned_on"], dtype=np.float64), facts["values"]
        except (KeyError, ValueError) as error:
            raise ArtifactError(
                f"{folder} does not say which weights its network acts at: {error}"
            ) from error
        return cls(MLPActor.load(folder, facts), weights, values=values)

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the network and the weights as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        told = {"conditioned_on": self.weights.tolist(), "values": self.values}
        self.network.save(folder, {**facts, **told})

    def act(self, observations: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """One action per observation [n, d], at the stored weights."""
        return self._plain.act(observations, draw)
