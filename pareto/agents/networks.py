"""Actors and critics of a whole population as stacked matrices: one batched product per layer, whatever its size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.agents.heads import Head
from pareto.models.actors.mlp import Deployed, MLPActor

Pullback = Callable[[Tensor, Tensor], Tensor]
"""Gradients with respect to outputs [P, B, A] and values [P, B, m] -> gradient with respect to parameters [P, n]."""


class Networks(ABC):
    """The shape of one policy's actor and critic, and how a population's stacked parameters are used.

    Parameters of P policies are one float32 matrix [P, n]: a row is a policy, so that copying, storing, clipping and
    stepping policies are row operations. `views` cuts it into named tensors [P, ...] that share its memory.

    Attributes:
        layout: name -> shape of one policy's parameter.
        head: what the actor's output means.
        m: objectives, the width of the critic's output.
        kind: name of the stored actor (`pareto.models.actors`).
    """

    layout: Mapping[str, tuple[int, ...]]
    head: Head
    m: int
    kind: str

    @property
    def size(self) -> int:
        """n, numbers in one policy's parameters."""
        return sum(math.prod(shape) for shape in self.layout.values())

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named tensors [P, ...] that share the memory of parameters [P, n]."""
        parts = flat.split([math.prod(shape) for shape in self.layout.values()], dim=1)
        return {name: part.view(-1, *shape) for (name, shape), part in zip(self.layout.items(), parts)}

    @abstractmethod
    def begin(self, n_policies: int, draw: torch.Generator) -> Tensor:
        """Fresh parameters [P, n], different for every policy."""

    @abstractmethod
    def actor(self, views: Mapping[str, Tensor], observations: Tensor) -> Tensor:
        """Outputs [P, B, A] for observations [P, B, ...]."""

    @abstractmethod
    def critic(self, views: Mapping[str, Tensor], observations: Tensor) -> Tensor:
        """Values [P, B, m] for observations [P, B, ...]."""

    def both(self, views: Mapping[str, Tensor], observations: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [P, B, A] and values [P, B, m]."""
        return self.actor(views, observations), self.critic(views, observations)

    def vjp(self, views: Mapping[str, Tensor], observations: Tensor) -> tuple[Tensor, Tensor, Pullback]:
        """Outputs [P, B, A] and values [P, B, m] without a graph, and how their gradients become one of the parameters.

        The gradient is 0 for the head's own parameters, which the networks do not see.
        """
        with torch.enable_grad():
            outputs, values = self.both(views, observations)

        def pull(by_outputs: Tensor, by_values: Tensor) -> Tensor:
            parts = torch.autograd.grad(
                (outputs, values),
                list(views.values()),
                (by_outputs, by_values),
                allow_unused=True,
                materialize_grads=True,
            )
            return torch.cat([part.flatten(1) for part in parts], dim=1)

        return outputs.detach(), values.detach(), pull

    @abstractmethod
    def store(
        self,
        row: Tensor,
        offset: np.ndarray,
        scale: np.ndarray,
        actions: Deployed,
        folder: Path,
        facts: Mapping[str, Any],
    ) -> None:
        """Write one policy's actor as a policy folder.

        Args:
            row: [n] its parameters.
            offset: subtracted from raw observations.
            scale: multiplied onto them.
            actions: how it acts.
            folder: where to.
            facts: what `agent_facts` says, and more where wanted.
        """


@final
class StackedMLP(Networks):
    """Tanh perceptrons, an actor and a critic of equal widths beside each other.

    Hidden layers hold both networks, [2, in, out], so that an update runs one batched product of 2P matrices per layer.

    Args:
        d: length of an observation.
        head: of the actor.
        m: objectives.
        hidden: widths of the hidden layers.

    Source: Schulman et al. (2017), 64-64 tanh; orthogonal starts with gain sqrt(2), 0.01 for the actor's last layer and 1
    for the critic's, as in Andrychowicz et al. (2021) and C-MORL's released code.
    """

    kind = "mlp"

    def __init__(self, d: int, head: Head, m: int, hidden: tuple[int, ...] = (64, 64)) -> None:
        self.head, self.m, self.hidden = head, m, hidden
        layout: dict[str, tuple[int, ...]] = {}
        for i, (rows, columns) in enumerate(zip((d, *hidden), hidden)):
            layout[f"hidden.{i}.weight"] = (2, rows, columns)
            layout[f"hidden.{i}.bias"] = (2, columns)
        layout["actor.weight"], layout["actor.bias"] = (hidden[-1], head.width), (head.width,)
        layout["critic.weight"], layout["critic.bias"] = (hidden[-1], m), (m,)
        self.layout = {**layout, **head.layout}

    def begin(self, n_policies: int, draw: torch.Generator) -> Tensor:
        """Orthogonal weights, zero biases."""
        flat = torch.zeros(n_policies, self.size)
        gains = {"hidden": math.sqrt(2.0), "actor": 0.01, "critic": 1.0}
        for name, view in self.views(flat).items():
            kind, _, what = name.partition(".")
            if what.endswith("weight"):
                for policy in view:
                    for matrix in policy.view(-1, *policy.shape[-2:]):
                        torch.nn.init.orthogonal_(matrix, gains[kind], generator=draw)
            elif kind not in gains:
                view.fill_(self.head.start)
        return flat

    def actor(self, views: Mapping[str, Tensor], observations: Tensor) -> Tensor:
        """Outputs [P, B, A]."""
        return _last(views, "actor", self._single(views, observations, 0))

    def critic(self, views: Mapping[str, Tensor], observations: Tensor) -> Tensor:
        """Values [P, B, m]."""
        return _last(views, "critic", self._single(views, observations, 1))

    def both(self, views: Mapping[str, Tensor], observations: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and values at the price of one pass through twice as many matrices."""
        actors, critics = self._layers(self._matrices(views), observations)[-1].chunk(2)
        return _last(views, "actor", actors), _last(views, "critic", critics)

    def vjp(self, views: Mapping[str, Tensor], observations: Tensor) -> tuple[Tensor, Tensor, Pullback]:
        """The same by hand: a third of autograd's time, since nothing is recorded and every gradient is written once."""
        p = len(observations)
        with torch.no_grad():
            matrices = self._matrices(views)
            layers = self._layers(matrices, observations)
            last = dict(zip(("actor", "critic"), layers[-1].chunk(2)))
            outputs, values = (_last(views, name, x) for name, x in last.items())

        @torch.no_grad()
        def pull(by_outputs: Tensor, by_values: Tensor) -> Tensor:
            gradient = torch.zeros(p, self.size)
            found = self.views(gradient)
            by = torch.empty_like(layers[-1])
            for (name, x), own, part in zip(last.items(), (by_outputs, by_values), by.chunk(2)):
                # [A, B] @ [B, h] and not [h, B] @ [B, A]: products with few columns are slow
                found[f"{name}.weight"].copy_(torch.bmm(own.transpose(1, 2), x).transpose(1, 2))
                torch.sum(own, dim=1, out=found[f"{name}.bias"])
                torch.bmm(own, views[f"{name}.weight"].transpose(1, 2), out=part)
            for i in reversed(range(len(self.hidden))):
                torch.ops.aten.tanh_backward(by, layers[i + 1], grad_input=by)
                for name, part in (
                    ("weight", torch.bmm(layers[i].transpose(1, 2), by)),
                    ("bias", by.sum(dim=1)),
                ):
                    found[f"hidden.{i}.{name}"].copy_(part.unflatten(0, (2, p)).transpose(0, 1))
                if i:
                    by = torch.bmm(by, matrices[i][0].transpose(1, 2))
            return gradient

        return outputs, values, pull

    def _single(self, views: Mapping[str, Tensor], x: Tensor, which: int) -> Tensor:
        """[P, B, h] last hidden layer of the actors (0) or the critics (1)."""
        for i in range(len(self.hidden)):
            x = _tanh_layer(
                x, views[f"hidden.{i}.weight"][:, which], views[f"hidden.{i}.bias"][:, which, None]
            )
        return x

    def _matrices(self, views: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Weights [2P, in, out] and biases [2P, 1, out] of the hidden layers, the actors' first."""
        pairs = ((views[f"hidden.{i}.weight"], views[f"hidden.{i}.bias"]) for i in range(len(self.hidden)))
        return [
            (w.transpose(0, 1).flatten(0, 1), b.transpose(0, 1).reshape(-1, 1, b.shape[2])) for w, b in pairs
        ]

    def _layers(self, matrices: list[tuple[Tensor, Tensor]], observations: Tensor) -> list[Tensor]:
        """Inputs and hidden layers [2P, B, h], the actors' first."""
        layers = [observations.repeat(2, 1, 1)]
        for weight, bias in matrices:
            layers.append(_tanh_layer(layers[-1], weight, bias))
        return layers

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
        self.actor_of(row, offset, scale, actions).save(folder, facts)

    def actor_of(self, row: Tensor, offset: np.ndarray, scale: np.ndarray, actions: Deployed) -> MLPActor:
        """The actor of one policy's parameters [n], to be stored; arguments as for `store`."""
        views = self._one(row)
        return MLPActor(self._stored(views, "actor"), offset, scale, actions, views.get("log_std"))

    def _one(self, row: Tensor) -> dict[str, np.ndarray]:
        """Named arrays of one policy's parameters [n]."""
        return {name: view[0].numpy() for name, view in self.views(row[None].cpu()).items()}

    def _stored(self, views: Mapping[str, np.ndarray], name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """(W [in, out], b [out]) of every layer of one policy's actor or critic."""
        which = ("actor", "critic").index(name)
        pairs = ((views[f"hidden.{i}.weight"], views[f"hidden.{i}.bias"]) for i in range(len(self.hidden)))
        return [*((w[which], b[which]) for w, b in pairs), (views[f"{name}.weight"], views[f"{name}.bias"])]


_MINUS_ONE = torch.tensor(-1.0)


def _tanh_layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """tanh(x W + b) as 2 sigmoid(2 (x W + b)) - 1: torch's sigmoid takes a tenth of its tanh's time on a CPU."""
    share = torch.baddbmm(bias, x, weight, beta=2, alpha=2).sigmoid_()
    return torch.add(_MINUS_ONE, share, alpha=2, out=None if torch.is_grad_enabled() else share)


def _last(views: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """[P, B, A] x W + b, computed as [A, h] @ [h, B], since products with few columns are slow."""
    weight, bias = views[f"{name}.weight"].transpose(1, 2), views[f"{name}.bias"][..., None]
    return torch.baddbmm(bias, weight, x.transpose(1, 2)).transpose(1, 2)
