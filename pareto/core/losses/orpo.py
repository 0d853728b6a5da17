"""Odds-ratio preference optimisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, log_odds, needs


@LOSSES.register("orpo", source="Hong et al. (2024), ORPO, arXiv 2403.07691, Eq. 6-7")
@needs(reference=False)
def orpo(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """NLL(chosen) - beta log sigmoid(log odds(chosen) - log odds(rejected)), odds of the mean token probability.

    Args:
        pairs: log-probabilities of B pairs; the reference is not read.
        beta: weight of the odds ratio (paper: lambda).

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Source: Hong et al. (2024), Eq. 6-7; differences: the likelihood is over response tokens only, and log-odds are
    computed without cancellation for probabilities near 1.
    """
    return -pairs.chosen_mean - beta * F.logsigmoid(
        log_odds(pairs.chosen_mean) - log_odds(pairs.rejected_mean)
    )
