"""Anchored preference optimisation for data worse than the model."""

from __future__ import annotations

from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "apo_down",
    source="D'Oosterlinck et al. (2024), Anchored preference optimization, arXiv 2408.06266, Eq. 8",
)
def apo_down(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """sigmoid(beta c) + 1 - sigmoid(beta m): lower both responses, the rejected one more.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.

    Returns:
        [B] float in (0, 2), per-pair loss, not reduced; 1 where policy equals reference.

    Source: D'Oosterlinck et al. (2024), Eq. 8; differences: none.
    """
    return (beta * pairs.chosen_ratio).sigmoid() + 1.0 - (beta * pairs.gap).sigmoid()
