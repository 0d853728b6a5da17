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
Actions = Literal["mode", "sample"]


@ACTORS.register("mlp", source="Schulman et al. (2017), 64-64 tanh policies")
@final
class MLPActor(Actor):
    """A tanh perceptron over a vector observation, with a categorical or a Gaussian head.

    x = (observation - offset) * scale, clipped to [-10, 10]; h = tanh(x W + b) layer by layer; the last layer is linear:
    logits of a Discrete space, or the mean of a Box space, to which the standard deviation belongs.

    Args:
        layers: (W [in, out], b [out]) of each layer.
        offset: [d] subtracted from observations.
        scale: [d] multiplied onto them.
        head: {"space": "discrete", "n": A, "start": a0} or {"space": "box", "low": [...], "high": [...]}.
        actions: take the likeliest action, or draw one.
        log_std: [a] of a Gaussian head, else None.
    """

    def __init__(
        self,
        layers: list[tuple[np.ndarray, np.ndarray]],
        offset: np.ndarray,
        scale: np.ndarray,
        head: Mapping[str, Any],
        actions: Actions,
        log_std: np.ndarray | None = None,
    ) -> None:
        self.layers, self.offset, self.scale = layers, offset, scale
        self.head, self.actions, self.log_std = dict(head), actions, log_std

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
                facts["head"],
                facts["actions"],
                tensors.get("log_std"),
            )
        except (OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{folder} does not hold a stored perceptron: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any] | None = None) -> None:
        """Write the actor as a policy folder.

        Args:
            folder: made when missing.
            facts: further JSON-able facts for policy.json.
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
        own = {"kind": "agent", "actor": "mlp", "actions": self.actions, "head": self.head}
        atomic.write_json(folder / "policy.json", {**(facts or {}), **own})

    def outputs(self, observations: Any) -> np.ndarray:
        """[n, A] logits or [n, a] means, float32."""
        x = (np.asarray(observations, dtype=np.float32) - self.offset) * self.scale
        x = np.clip(x, -10.0, 10.0)
        for weight, bias in self.layers[:-1]:
            x = np.tanh(x @ weight + bias)
        weight, bias = self.layers[-1]
        return x @ weight + bias

    def act(self, observations: Any, draw: np.random.Generator) -> np.ndarray:
        """One action per observation [n, d]."""
        out = self.outputs(observations)
        if self.head["space"] == "discrete":
            if self.actions == "sample":
                out = out + draw.gumbel(size=out.shape)
            return out.argmax(axis=-1) + self.head["start"]
        if self.actions == "sample":
            assert self.log_std is not None
            out = out + np.exp(self.log_std) * draw.standard_normal(out.shape)
        return np.clip(out, self.head["low"], self.head["high"]).astype(np.float32)
