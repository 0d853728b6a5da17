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
        self.actions: Deployed = actions
        self.log_std = log_std

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote."""
        try:
            return cls.from_tensors(read_tensors(folder), facts["actions"])
        except KeyError as error:
            raise ArtifactError(f"{folder} does not hold a stored perceptron: {error}") from error

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], actions: Deployed, prefix: str = "") -> Self:
        """The perceptron that `tensors` wrote down.

        Args:
            tensors: those of the perceptron and maybe others.
            actions: take the likeliest action, or draw one.
            prefix: of the names that are the perceptron's.

        Raises:
            KeyError: a tensor is missing.
        """
        own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        # at least one layer, so that a perceptron without any is missing its first
        n = max(1, sum(name.endswith(".weight") for name in own))
        layers = [(own[f"layers.{i}.weight"], own[f"layers.{i}.bias"]) for i in range(n)]
        return cls(layers, own["offset"], own["scale"], actions, own.get("log_std"))

    def tensors(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Every array of the perceptron by its name behind a prefix, float32."""
        tensors = {"offset": self.offset, "scale": self.scale}
        for i, (weight, bias) in enumerate(self.layers):
            tensors |= {f"layers.{i}.weight": weight, f"layers.{i}.bias": bias}
        if self.log_std is not None:
            tensors["log_std"] = self.log_std
        return {prefix + name: np.ascontiguousarray(t, dtype=np.float32) for name, t in tensors.items()}

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the actor as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        write_tensors(folder, self.tensors())
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


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a policy folder by name.

    Raises:
        ArtifactError: their file is missing or broken.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(folder / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtifactError(f"{folder} does not hold a stored perceptron: {error}") from error


def write_tensors(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write the tensors of a policy folder, which is made when missing."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(folder / TENSORS, save(dict(tensors)))
