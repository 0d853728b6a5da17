"""A perceptron over sines and cosines, which tells neighbouring places of a grid or a tree apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pareto.errors import ConfigError
from pareto.models.policy_networks import NETWORKS

OCTAVES = 6


class _Waves(nn.Module):
    def forward(self, seen: Tensor) -> Tensor:
        """[B, d (1 + 2 OCTAVES)] of [B, d]: the numbers themselves, then their sines and cosines octave by octave."""
        angles = [seen * (math.pi / 4 * 2**k) for k in range(OCTAVES)]
        return torch.cat([seen, *(f(a) for a in angles for f in (torch.sin, torch.cos))], dim=-1)


@NETWORKS.register("fourier", source="Tancik et al. (2020), Fourier features, arXiv 2006.10739")
def fourier(shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Two layers of 64 tanh units over vectors [d] and their waves of lengths 8, 4, ..., 1/4 standard deviations.

    For places that stand for themselves: a perceptron alone is smooth in them and mixes up neighbours.

    Args:
        shape: (d,).
        n_outputs: width of the output.

    Raises:
        ConfigError: observations that are no vectors.
    """
    if len(shape) != 1:
        raise ConfigError(f"fourier sees vectors [d]; got shape {shape}; nature_cnn sees pictures")
    last = nn.Linear(64, n_outputs)
    with torch.no_grad():
        last.weight.mul_(0.1)
    width = shape[0] * (1 + 2 * OCTAVES)
    return nn.Sequential(_Waves(), nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), last)
