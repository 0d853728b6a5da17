"""POWER: preference optimisation with weighted entropy regularisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs


@LOSSES.register(
    "power",
    source="Rashidinejad and Tian (2024), Sail into the headwind, arXiv 2412.09544; form re-derived",
    status="unverified",
)
@needs(reference=False)
def power(pairs: PairLogps, *, beta: float = 0.1, sft_weight: float = 5e-4) -> Tensor:
    """-log sigmoid(beta (w_c (log pi(c) + 1) - w_r (log pi(r) + 1))) - sft_weight beta w_c log pi(c), w = 1 / length.

    Args:
        pairs: log-probabilities of B pairs; the reference is not read.
        beta: > 0, 1/nats.
        sft_weight: of the likelihood term (paper: eta; from memory).

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Source: arXiv 2412.09544; the form follows from the stationarity of E[r] + beta * weighted entropy, constants from
    memory. POWER-DL's dynamic labels are a loss with state of their own.
    """
    return -F.logsigmoid(power_logit(pairs, beta)) - sft_weight * beta * pairs.chosen_mean


def power_logit(pairs: PairLogps, beta: float) -> Tensor:
    """[B] difference of rewards of which pi is the optimum: beta (w_c (log pi(c) + 1) - w_r (log pi(r) + 1))."""
    chosen, rejected = 1.0 / pairs.chosen_lengths, 1.0 / pairs.rejected_lengths
    return beta * (chosen * (pairs.chosen_logps + 1.0) - rejected * (pairs.rejected_logps + 1.0))
