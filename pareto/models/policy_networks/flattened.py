"""A perceptron over observations of any shape, all their numbers side by side."""

from __future__ import annotations

import math

import torch
from torch import nn

from pareto.models.policy_networks import NETWORKS

HIDDEN = 128


@NETWORKS.register(
    "flattened",
    source="Yang et al. (2023), arXiv 2307.14346: rows of servers side by side; plain layers here",
)
def flattened(shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Two layers of 128 tanh units over all numbers of an observation.

    For tables of few rows, such as the servers of `pareto/Offloading-v0`; absent rows are seen as they are told.

    Args:
        shape: of an observation.
        n_outputs: width of the output.
    """
    last = nn.Linear(HIDDEN, n_outputs)
    with torch.no_grad():
        last.weight.mul_(0.1)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), HIDDEN),
        nn.Tanh(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.Tanh(),
        last,
    )
