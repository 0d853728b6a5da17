"""A network of value vectors that sees the weights beside the observation."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from torch import Tensor, nn

from pareto.models.actors.mlp import MLPActor


class ValueNetwork(nn.Module):
    """Tanh perceptron (observation, weights) -> Q [A, m].

    Args:
        d: length of an observation.
        m: objectives.
        n_actions: A.
        hidden: widths of the hidden layers.
        draw: of the first parameters.
    """

    offset: Tensor
    scale: Tensor

    def __init__(
        self, d: int, m: int, n_actions: int, hidden: tuple[int, ...], draw: torch.Generator
    ) -> None:
        super().__init__()
        self.m, self.n_actions = m, n_actions
        widths = (d + m, *hidden, n_actions * m)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        for layer in self.layers:
            nn.init.orthogonal_(layer.weight, generator=draw)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.register_buffer("offset", torch.zeros(d + m))
        self.register_buffer("scale", torch.ones(d + m))

    def fit_scale(self, observations: Tensor) -> None:
        """Normalise by the mean and deviation of observations [n, d]; weights pass as they are."""
        d = observations.shape[1]
        self.offset[:d] = observations.mean(dim=0)
        self.scale[:d] = 1.0 / observations.std(dim=0).clamp_min(1e-4)

    def forward(self, inputs: Tensor) -> Tensor:
        """Q [..., A, m] of (observation, weights) [..., d + m]."""
        x = ((inputs - self.offset) * self.scale).clamp(-10.0, 10.0)
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x).unflatten(-1, (self.n_actions, self.m))

    def grid(self, observations: Tensor, weights: Tensor) -> Tensor:
        """Q [B, W, A, m] of every observation [B, d] under every weight [W, m]."""
        b, w = len(observations), len(weights)
        pairs = (observations[:, None].expand(b, w, -1), weights[None].expand(b, w, -1))
        return self(torch.cat(pairs, dim=-1))

    @torch.no_grad()
    def choose(self, inputs: Tensor, epsilon: float, draw: torch.Generator) -> np.ndarray:
        """Actions [E] that are best for the weights shown, a share epsilon of them random."""
        best = torch.einsum("eam,em->ea", self(inputs), inputs[:, -self.m :]).argmax(dim=-1)
        other = torch.randint(self.n_actions, best.shape, generator=draw)
        return torch.where(torch.rand(best.shape, generator=draw) < epsilon, other, best).numpy()

    def twin(self) -> ValueNetwork:
        """A copy that learns nothing."""
        return copy.deepcopy(self).requires_grad_(False)

    def stored(self) -> MLPActor:
        """The network as numpy arrays."""
        pairs = [
            (layer.weight.detach().numpy().T, layer.bias.detach().numpy())  # type: ignore[union-attr]
            for layer in self.layers
        ]
        return MLPActor(pairs, self.offset.numpy(), self.scale.numpy(), actions="mode")
