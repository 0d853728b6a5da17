"""What the states of several policies are worth, all read off one network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from pareto import rng
from pareto.agents.watching import Watched
from pareto.models.actors.mlp import MLPActor

WIDTHS, STEPS, BATCH, LR, DECAY = (128, 128), 3_500, 1024, 2e-3, 0.1
"""Of the network and its fit: two seeds of the lunar lander, tried in reports/log.md."""


def fit_state_values(seen: Sequence[Watched], seed: int) -> MLPActor:
    """Fit a perceptron to what episodes of K policies were worth: observations [n, d] -> [n, K * m], policies one by one.

    All policies share the hidden layers, so that what one learned of a state serves the others; each sees the outputs of its own
    alone. Squared error, every objective in units of its own deviation.

    Args:
        seen: at least one set of episodes of theirs.
        seed: study seed.
    """
    k, m = len(seen[0].states), seen[0].returns.shape[-1]
    own = [np.concatenate([w.states[i] for w in seen]) for i in range(k)]
    states = np.concatenate(own)
    worth = np.concatenate([w.worth[i] for i in range(k) for w in seen])
    offset, scale = states.mean(axis=0), 1 / (states.std(axis=0) + 1e-3)
    mean, unit = worth.mean(axis=0), worth.std(axis=0) + 1e-6
    inputs = torch.from_numpy(np.clip((states - offset) * scale, -10, 10).astype(np.float32))
    targets = torch.from_numpy(((worth - mean) / unit).astype(np.float32))
    policy = torch.from_numpy(np.repeat(np.arange(k), [len(s) for s in own]))
    draw = torch.Generator().manual_seed(rng.derive_seed("state values", seed))
    network = _perceptron((states.shape[1], *WIDTHS, k * m), draw)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        rows = torch.randint(len(inputs), (BATCH,), generator=draw)
        told = network(inputs[rows]).view(BATCH, k, m)[torch.arange(BATCH), policy[rows]]
        loss = (told - targets[rows]).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    *hidden, (weight, bias) = [
        (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
        for layer in network
        if isinstance(layer, nn.Linear)
    ]
    units, means = np.tile(unit, k).astype(np.float32), np.tile(mean, k).astype(np.float32)
    last = (weight * units, bias * units + means)
    return MLPActor([*hidden, last], offset.astype(np.float32), scale.astype(np.float32), "mode")


def _perceptron(widths: Sequence[int], draw: torch.Generator) -> nn.Sequential:
    """Tanh layers with uniform weights of +-1/sqrt(inputs), drawn from a generator of their own."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs)
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=draw)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])
