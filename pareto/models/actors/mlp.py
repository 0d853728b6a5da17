"""Multi-layer perceptrons as stored actors: numpy alone, so that acting needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np

from pareto.errors import ArtifactError
from pareto.models.actors import ACTORS, Actor
from pareto.state import atomic

TENSORS = "actor.safetensors"
Deployed = Literal["mode", "sample"]
"""How a trained policy acts: its likeliest action, or one drawn."""


@ACTORS.register("mlp", source="Schulman et al. (2017), 64-64 tanh policies")
@final
class MLPActor(Actor):
    """A tanh perceptron over a vector observation, with a categorical or a Gaussian head.

    x = (observation - offset) * scale, clipped to [-10, 10]; h = tanh(x W + b) layer by layer; the last layer is linear:
    logits of discrete actions, or the mean of continuous ones, to which a standard deviation belongs.

    Args:
        layers: (W [in, out], b [out]) of each layer.
        offset: [d] subtracted from observations.
        scale: [d] multiplied onto them.
        actions: take the likeliest action, or draw one.
        log_std: [a] where actions are continuous, else None.
    """

    def __init__(
        self,
        layers: list[tuple[np.ndarray, np.ndarray]],
        offset: np.ndarray,
        scale: np.ndarray,
        actions: Deployed,
        log_std: np.ndarray | None = None,
    ) -> None:
        self.layers, self.offset, self.scale = layers, offset, scale
        self.actions, self.log_std = actions, log_std

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        try:
            tensors = load_file(folder / TENSORS)
            n = sum(name.endswith(".weight") for name in tensors)
            layers = [(tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(n)]
            return cls(
                layers,
                tensors["offset"],
                tensors["scale"],
                facts["actions"],
                tensors.get("log_std"),
            )
        except (OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{folder} does not hold a stored perceptron: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the actor as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        from safetensors.numpy import save

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"offset": self.offset, "scale": self.scale}
        for i, (weight, bias) in enumerate(self.layers):
            tensors |= {f"layers.{i}.weight": weight, f"layers.{i}.bias": bias}
        if self.log_std is not None:
            tensors["log_std"] = self.log_std
        plain = {name: np.ascontiguousarray(t, dtype=np.float32) for name, t in tensors.items()}
        atomic.write_bytes(folder / TENSORS, save(plain))
        atomic.write_json(folder / "policy.json", {**facts, "actions": self.actions})

    def outputs(self, observations: Any) -> np.ndarray:
        """[n, A] logits or [n, a] means, float32."""
        x = (np.asarray(observations, dtype=np.float32) - self.offset) * self.scale
        x = np.clip(x, -10.0, 10.0)
        for weight, bias in self.layers[:-1]:
            x = np.tanh(x @ weight + bias)
        weight, bias = self.layers[-1]
        return x @ weight + bias

    def act(self, observations: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """One action per observation [n, d]."""
        out = self.outputs(observations)
        if self.log_std is None:
            return (out if self.actions == "mode" else out + draw.gumbel(size=out.shape)).argmax(axis=-1)
        return out if self.actions == "mode" else out + np.exp(self.log_std) * draw.standard_normal(out.shape)
