"""Aligned supervised fine-tuning in its odds form."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, log_odds, needs


@LOSSES.register(
    "asft", source="Wang et al. (2024), ASFT, arXiv 2409.10571; form re-derived", status="unverified"
)
@needs(reference=False)
def asft(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """NLL(chosen) - beta (log sigmoid(log odds(chosen)) + log sigmoid(-log odds(rejected))), no reference.

    Since sigmoid(log odds(p)) = p, this is likelihood of the chosen and unlikelihood of the rejected response:
    -(1 + beta) mean log pi(chosen) - beta log(1 - p(rejected)).

    Args:
        pairs: log-probabilities of B pairs; the reference is not read.
        beta: weight of the alignment terms (from memory of the paper's lambda).

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Source: arXiv 2409.10571, from memory. Not the "anchored SFT" that other libraries call ASFT.
    """
    aligned = F.logsigmoid(log_odds(pairs.chosen_mean)) + F.logsigmoid(-log_odds(pairs.rejected_mean))
    return -pairs.chosen_mean - beta * aligned
