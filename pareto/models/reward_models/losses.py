"""What a reward model minimises: pure functions of its numbers and labels, NaN where a label is unknown."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """Mean over known objectives of (value - target)^2.

    Args:
        values: [n, m].
        targets: [n, m], NaN where unknown.

    Returns:
        [n]; 0 where nothing is known.

    Source: Li et al. (2025), arXiv 2510.01167, value model; Wang et al. (2024), arXiv 2402.18571, reward model. Differences:
    unknown attributes are masked.
    """
    known = ~targets.isnan()
    return _known_mean((values - targets.nan_to_num()) ** 2, known)


def step_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over known objectives of -[y log p + (1 - y) log (1 - p)] with p = sigmoid(logit).

    Args:
        logits: [n, m].
        labels: [n, m] in [0, 1], the probability that the step is good; NaN where unknown.

    Returns:
        [n], nats; 0 where nothing is known.

    Source: Li et al. (2025), arXiv 2510.01167, step classifier for objectives that nothing verifies.
    """
    known = ~labels.isnan()
    return _known_mean(
        F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none"), known
    )


def bradley_terry(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Mean over known objectives of -log sigmoid(winner - loser); a tie is half of each.

    Args:
        first: [n, m] scores of the first reply of each pair.
        second: [n, m] scores of the other.
        labels: [n, m]: 1 where the first is better, -1 where the second is, 0 for a tie, NaN where unknown.

    Returns:
        [n], nats; 0 where nothing is known.

    Source: Bradley and Terry (1952); Ouyang et al. (2022), arXiv 2203.02155, Eq. 1. Differences: one dimension an objective;
    ties count.
    """
    return step_likelihood(first - second, (labels + 1.0) / 2.0)


def _known_mean(losses: Tensor, known: Tensor) -> Tensor:
    return (losses * known).sum(-1) / known.sum(-1).clamp(min=1)
