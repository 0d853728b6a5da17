"""Kahneman-Tversky optimisation: desirable and undesirable responses, no pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import UnpairedLogps


@LOSSES.register("kto", source="Ethayarajh et al. (2024), KTO, arXiv 2402.01306, Eq. 8; as in HALOs and TRL")
def kto(
    batch: UnpairedLogps,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Raise desirable and lower undesirable responses, measured from what the policy gives to unrelated ones.

    L = w_D (1 - sigmoid(beta (l - z))) for a desirable response and w_U (1 - sigmoid(beta (z - l))) for an undesirable
    one, l its log-ratio of policy to reference, z = max(0, kl_baseline) without gradient.

    Args:
        batch: log-probabilities of B single responses; no `kl_baseline` is z = 0 ("apo_zero_unpaired" elsewhere).
        beta: > 0, 1/nats.
        desirable_weight: w_D (paper: lambda_D). With n_D desirable and n_U undesirable responses the paper wants
            w_D n_D / (w_U n_U) in [1, 4/3].
        undesirable_weight: w_U (paper: lambda_U).

    Returns:
        [B] float in (0, weight), per-response loss, not reduced; weight / 2 where policy equals reference.

    Source: Ethayarajh et al. (2024), Eq. 8, with lambda - v written as a loss; differences: none.
    """
    baseline = 0.0 if batch.kl_baseline is None else batch.kl_baseline.detach().clamp(min=0.0)
    ahead = beta * (batch.ratio - baseline)
    desirable = desirable_weight * (-ahead).sigmoid()
    undesirable = undesirable_weight * ahead.sigmoid()
    return torch.where(batch.label.bool(), desirable, undesirable)
