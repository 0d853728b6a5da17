"""Dispatchers as stored actors: a network that scores servers, at the preference it was stored for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pareto.errors import ArtifactError
from pareto.models.actors import ACTORS, Actor
from pareto.state import atomic

if TYPE_CHECKING:
    from torch import nn

TENSORS = "actor.safetensors"


@ACTORS.register(
    "dispatcher", source="Yang et al. (2025), arXiv 2509.10474, with encoders over sets of servers"
)
@final
class DispatcherActor(Actor):
    """Choose the server with the highest corrected score; see `pareto.models.dispatching`.

    Args:
        scorer: network of one output per server.
        shape: arguments `make_scorer` builds it from: encoder, hidden, servers.
        scales: [2] s and J that weigh the same.
        weights: [2] of (delay, energy) it acts at.
    """

    def __init__(
        self, scorer: nn.Module, shape: Mapping[str, Any], scales: np.ndarray, weights: np.ndarray
    ) -> None:
        self.scorer, self.shape = scorer, dict(shape)
        self.scales, self.weights = np.asarray(scales, dtype=np.float64), np.asarray(weights)

    def at(self, weights: np.ndarray) -> DispatcherActor:
        """The same network at other weights [2]."""
        return DispatcherActor(self.scorer, self.shape, self.scales, weights)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote."""
        import torch
        from safetensors.torch import load_file

        from pareto.models.dispatching import make_scorer

        try:
            scorer = make_scorer(**facts["shape"], outputs=1, draw=torch.Generator())
            scorer.load_state_dict(load_file(folder / TENSORS))
            return cls(scorer, facts["shape"], np.array(facts["scales"]), np.array(facts["conditioned_on"]))
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise ArtifactError(f"{folder} does not hold a stored dispatcher: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the actor as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.scorer.state_dict().items()}
        told = {
            "shape": self.shape,
            "scales": self.scales.tolist(),
            "conditioned_on": self.weights.tolist(),
        }
        atomic.write_bytes(folder / TENSORS, save(tensors))
        atomic.write_json(folder / "policy.json", json.loads(json.dumps({**facts, **told})))

    def act(self, observations: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """The best server for each observation [n, S, F]."""
        return self.choose(observations, np.broadcast_to(self.weights, (len(observations), 2)))

    def choose(self, observations: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The best server for each observation [n, S, F], every one under weights [n, 2] of its own."""
        import torch

        from pareto.models.dispatching import look, policy_logits

        with torch.no_grad():
            seen = look(observations, np.asarray(weights, dtype=np.float64), self.scales)
            return policy_logits(self.scorer, seen, 1.0).argmax(dim=1).numpy()
