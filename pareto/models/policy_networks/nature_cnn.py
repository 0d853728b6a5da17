"""A convolutional network for pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pareto.errors import ConfigError
from pareto.models.policy_networks import NETWORKS


class _ChannelsFirst(nn.Module):
    def forward(self, pictures: Tensor) -> Tensor:
        """[B, C, H, W] of [B, H, W, C]."""
        return pictures.permute(0, 3, 1, 2)


@NETWORKS.register("nature_cnn", source="Mnih et al. (2015), Human-level control, Nature 518")
def nature_cnn(shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Three convolutions and 512 hidden units over pictures [H, W, C].

    Args:
        shape: (H, W, C), at least 36 x 36.
        n_outputs: width of the output.

    Raises:
        ConfigError: observations that are no such pictures.
    """
    if len(shape) != 3 or min(shape[:2]) < 36:
        raise ConfigError(f"nature_cnn sees pictures [H, W, C] of at least 36 x 36; got shape {shape}")
    body = nn.Sequential(
        _ChannelsFirst(),
        nn.Conv2d(shape[2], 32, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
    )
    with torch.no_grad():
        width = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(body, nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, n_outputs))
