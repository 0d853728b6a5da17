"""A term that keeps a policy's probability where its reference put it, without moving the optimum."""

from __future__ import annotations

import torch
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps

LARGEST_LOG_RATIO = 5.0
"""Log-ratios are cut off here, which bounds the gradient of one rare response; nats."""


@LOSSES.register("mass_anchor", source="this suite; follows from the normalisation of the policy")
def mass_anchor(pairs: PairLogps) -> Tensor:
    """Push probability mass back onto responses like those the reference generates.

    Preference losses only see differences between two responses, so mass may drift to texts that no pair contains.
    For responses y drawn from the reference, E[pi(y) / pi_ref(y)] is the policy's mass on the reference's support,
    which is at most 1. The loss is minus that mass,

        L = -(exp(c) + exp(r)) / 2        (c, r: log-ratios of chosen and rejected)

    so it is smallest, with gradient zero, for *every* policy that stays on the support: the optimum of the preference
    loss it is added to does not change. Only meaningful where the pairs' responses were sampled from the reference.

    Args:
        pairs: log-probabilities of B pairs.

    Returns:
        [B] float, per-pair loss, not reduced; -1 where policy equals reference.

    Source: this suite. Elsewhere a likelihood term on the chosen response does this work (RPO, Iterative RPO); that term
    moves the optimum towards the chosen responses, this one does not (up to the cut-off at log-ratio 5).
    """
    ratios = torch.stack([pairs.chosen_ratio, pairs.rejected_ratio])
    return -ratios.clamp(max=LARGEST_LOG_RATIO).exp().mean(0)
