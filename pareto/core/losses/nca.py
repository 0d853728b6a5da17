"""Noise contrastive alignment for pairs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "nca", source="Chen et al. (2024), Noise contrastive alignment, arXiv 2402.05369, Eq. 15 (K = 2)"
)
def nca(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """Raise the chosen response's own likelihood ratio, not only its gap to the rejected one.

    L = -log sigmoid(beta c) - (log sigmoid(-beta c) + log sigmoid(-beta r)) / 2

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.

    Returns:
        [B] float, per-pair loss in nats, not reduced; 2 ln 2 where policy equals reference.

    Source: Chen et al. (2024), for two responses with hard labels, as in TRL; differences: none.
    """
    chosen, rejected = beta * pairs.chosen_ratio, beta * pairs.rejected_ratio
    return -F.logsigmoid(chosen) - 0.5 * (F.logsigmoid(-chosen) + F.logsigmoid(-rejected))
