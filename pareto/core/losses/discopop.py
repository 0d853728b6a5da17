"""DiscoPOP: a loss found by search."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "discopop",
    source="Lu et al. (2024), Discovering preference optimization algorithms, arXiv 2406.08414, Eq. 5",
)
def discopop(pairs: PairLogps, *, beta: float = 0.05, temperature: float = 0.05) -> Tensor:
    """(1 - k) (-log sigmoid(beta m)) + k exp(-beta m), mixed by k = sigmoid(beta m / temperature).

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        temperature: > 0 of the mixture (paper: tau).

    Returns:
        [B] float, per-pair loss, not reduced; (1 + ln 2) / 2 where policy equals reference.

    Source: Lu et al. (2024), Eq. 5; difference: k exp(-beta m) is computed as one exponential, which cannot overflow
    for temperature < 1.
    """
    logit = beta * pairs.gap
    mixed = (-logit / temperature).sigmoid() * -F.logsigmoid(logit)
    return mixed + (F.logsigmoid(logit / temperature) - logit).exp()
