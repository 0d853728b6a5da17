"""Any torch module as the actor and the critic of a population: one vectorised call for all policies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.agents.heads import Head
from pareto.agents.networks import Networks
from pareto.errors import ConfigError, ShapeError
from pareto.models.actors.mlp import Deployed
from pareto.models.actors.torch_module import TorchActor
from pareto.models.policy_networks import NETWORKS


@final
class StackedModules(Networks):
    """Modules of a registered builder, an actor and a critic for every policy, run by `torch.func.vmap`.

    Args:
        network: name in `NETWORKS`.
        shape: of one observation.
        head: of the actor.
        m: objectives.

    Raises:
        ConfigError: a module with buffers, whose state a population could not hold.
        ShapeError: a module whose output is not [B, n_outputs].
    """

    kind = "torch_module"

    def __init__(self, network: str, shape: tuple[int, ...], head: Head, m: int) -> None:
        self.network, self.shape, self.head, self.m = network, shape, head, m
        self._build = NETWORKS.get(network)
        self._modules = {"actor": self._build(shape, head.width), "critic": self._build(shape, m)}
        for module, width in ((self._modules["actor"], head.width), (self._modules["critic"], m)):
            self._check(module, width)
        self.layout = {
            f"{part}.{name}": tuple(parameter.shape)
            for part, module in self._modules.items()
            for name, parameter in module.named_parameters()
        } | dict(head.layout)

    def begin(self, n_policies: int, draw: torch.Generator) -> Tensor:
        """As the builder makes them, from seeds of the generator; torch's global stream is left as it was."""
        flat = torch.zeros(n_policies, self.size)
        views = self.views(flat)
        for name in self.head.layout:
            views[name].fill_(self.head.start)
        seeds = torch.randint(2**31, (n_policies,), generator=draw).tolist()
        for p, seed in enumerate(seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                fresh = {
                    "actor": self._build(self.shape, self.head.width),
                    "critic": self._build(self.shape, self.m),
                }
            for part, module in fresh.items():
                for name, parameter in module.named_parameters():
                    views[f"{part}.{name}"][p] = parameter.detach()
        return flat

    def actor(self, views: Mapping[str, Tensor], observations: Tensor) -> Tensor:
        """Outputs [P, B, A]."""
        return self._call("actor", views, observations)

    def critic(self, views: Mapping[str, Tensor], observations: Tensor) -> Tensor:
        """Values [P, B, m]."""
        return self._call("critic", views, observations)

    def store(
        self,
        row: Tensor,
        offset: np.ndarray,
        scale: np.ndarray,
        actions: Deployed,
        folder: Path,
        facts: Mapping[str, Any],
    ) -> None:
        """Write the actor; the critic is not needed for acting."""
        views = {name: view[0].numpy() for name, view in self.views(row[None].cpu()).items()}
        own = {name.removeprefix("actor."): v for name, v in views.items() if name.startswith("actor.")}
        log_std = views.get("log_std")
        TorchActor(self.network, self.shape, self.head.width, own, offset, scale, actions, log_std).save(
            folder, facts
        )

    def _call(self, part: str, views: Mapping[str, Tensor], observations: Tensor) -> Tensor:
        module = self._modules[part]
        stacked = {name: views[f"{part}.{name}"] for name, _ in module.named_parameters()}
        p, b = observations.shape[:2]

        def one(parameters: dict[str, Tensor], seen: Tensor) -> Tensor:
            return torch.func.functional_call(module, parameters, (seen,))

        return torch.func.vmap(one)(stacked, observations.reshape(p, b, *self.shape))

    def _check(self, module: torch.nn.Module, width: int) -> None:
        changing = [name for name, _ in module.named_buffers()]
        if changing:
            raise ConfigError(
                f"network {self.network!r} has buffers ({', '.join(changing)}); take layers without running statistics"
            )
        with torch.no_grad():
            found = tuple(module(torch.zeros(2, *self.shape)).shape)
        if found != (2, width):
            raise ShapeError(
                f"network {self.network!r} must map [B, {', '.join(map(str, self.shape))}] to [B, {width}]; "
                f"it gave {found} for B = 2"
            )
