"""A stored actor whose network is a torch module of the user's own or of `pareto.models.policy_networks`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from pareto.errors import ArtifactError, UnknownNameError
from pareto.models.actors import ACTORS, Actor
from pareto.models.actors.mlp import TENSORS, Deployed
from pareto.models.policy_networks import NETWORKS
from pareto.state import atomic


@ACTORS.register(
    "torch_module", source="this suite: parameters by name, the module by its registered builder"
)
@final
class TorchActor(Actor):
    """A torch module over normalised observations, with a categorical or a Gaussian head.

    Args:
        network: name in `NETWORKS`.
        shape: of one encoded observation.
        n_outputs: width of the module's output.
        parameters: name -> array of the module's parameters.
        offset: [prod(shape)] subtracted from observations.
        scale: [prod(shape)] multiplied onto them.
        actions: take the likeliest action, or draw one.
        log_std: [a] where actions are continuous, else None.
    """

    def __init__(
        self,
        network: str,
        shape: tuple[int, ...],
        n_outputs: int,
        parameters: Mapping[str, np.ndarray],
        offset: np.ndarray,
        scale: np.ndarray,
        actions: Deployed,
        log_std: np.ndarray | None = None,
    ) -> None:
        import torch

        self.network, self.shape, self.n_outputs = network, tuple(shape), n_outputs
        self.parameters, self.offset, self.scale = dict(parameters), offset, scale
        self.actions, self.log_std = actions, log_std
        self.module = NETWORKS.get(network)(self.shape, n_outputs).eval()
        own = {name: torch.from_numpy(np.array(value)) for name, value in self.parameters.items()}
        self.module.load_state_dict(own, strict=False)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote.

        Raises:
            UnknownNameError: nobody registered the network; import the module that does.
            ArtifactError: files that do not fit it.
        """
        from safetensors.numpy import load_file

        try:
            tensors = load_file(folder / TENSORS)
            told = facts["network"]
            own = {k.removeprefix("module."): v for k, v in tensors.items() if k.startswith("module.")}
            return cls(
                told["name"],
                tuple(told["shape"]),
                told["n_outputs"],
                own,
                tensors["offset"],
                tensors["scale"],
                facts["actions"],
                tensors.get("log_std"),
            )
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error}; import the module that registers it, at the command line with --import MODULE"
            ) from error
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{folder} does not hold a stored network: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the actor as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        from safetensors.numpy import save

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"offset": self.offset, "scale": self.scale}
        tensors |= {f"module.{name}": value for name, value in self.parameters.items()}
        if self.log_std is not None:
            tensors["log_std"] = self.log_std
        plain = {name: np.ascontiguousarray(t, dtype=np.float32) for name, t in tensors.items()}
        atomic.write_bytes(folder / TENSORS, save(plain))
        told = {"name": self.network, "shape": list(self.shape), "n_outputs": self.n_outputs}
        atomic.write_json(folder / "policy.json", {**facts, "network": told, "actions": self.actions})

    def outputs(self, observations: Any) -> np.ndarray:
        """[n, A] logits or [n, a] means, float32."""
        import torch

        flat = np.asarray(observations, dtype=np.float32).reshape(len(observations), -1)
        x = np.clip((flat - self.offset) * self.scale, -10.0, 10.0).reshape(-1, *self.shape)
        with torch.no_grad():
            return self.module(torch.from_numpy(x)).numpy()

    def act(self, observations: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """One action per observation [n, *shape]."""
        out = self.outputs(observations)
        if self.log_std is None:
            return (out if self.actions == "mode" else out + draw.gumbel(size=out.shape)).argmax(axis=-1)
        return out if self.actions == "mode" else out + np.exp(self.log_std) * draw.standard_normal(out.shape)
