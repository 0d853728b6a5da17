"""Contrastive preference optimisation: DPO with a uniform reference, and likelihood."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs


@LOSSES.register(
    "cpo", source="Xu et al. (2024), Contrastive preference optimization, arXiv 2401.08417, Eq. 4"
)
@needs(reference=False)
def cpo(pairs: PairLogps, *, beta: float = 0.1, sft_weight: float = 1.0) -> Tensor:
    """-log sigmoid(beta (log pi(chosen) - log pi(rejected))) + sft_weight * NLL(chosen) per token.

    Args:
        pairs: log-probabilities of B pairs; the reference is not read.
        beta: > 0, 1/nats.
        sft_weight: of the likelihood term (paper: 1).

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Source: Xu et al. (2024), Eq. 4; difference from TRL: the likelihood is averaged over each response's own tokens and
    not over the micro-batch.
    """
    return -F.logsigmoid(beta * (pairs.chosen_logps - pairs.rejected_logps)) - sft_weight * pairs.chosen_mean
