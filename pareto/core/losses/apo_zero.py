"""Anchored preference optimisation for data better than the model."""

from __future__ import annotations

from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "apo_zero",
    source="D'Oosterlinck et al. (2024), Anchored preference optimization, arXiv 2408.06266, Eq. 7",
)
def apo_zero(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """1 - sigmoid(beta c) + sigmoid(beta r): raise the chosen, lower the rejected response.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.

    Returns:
        [B] float in (0, 2), per-pair loss, not reduced; 1 where policy equals reference. Gradients vanish for
        |beta c| beyond about 6.

    Source: D'Oosterlinck et al. (2024), Eq. 7; differences: none.
    """
    return 1.0 - (beta * pairs.chosen_ratio).sigmoid() + (beta * pairs.rejected_ratio).sigmoid()
