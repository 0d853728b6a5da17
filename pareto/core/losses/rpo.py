"""DPO with a likelihood term on the chosen response."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "rpo", source="Liu et al. (2024), Provably mitigating overoptimization, arXiv 2405.16436, Eq. 9"
)
def rpo(pairs: PairLogps, *, beta: float = 0.01, sft_weight: float = 0.005, average: bool = False) -> Tensor:
    """-log sigmoid(beta m) - sft_weight log pi(chosen).

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        sft_weight: of the likelihood term (paper: eta).
        average: likelihood per token (iterative RPO) instead of per response.

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Source: Liu et al. (2024), Eq. 9; defaults as listed by TRL; differences: none with average=False.
    """
    return -F.logsigmoid(beta * pairs.gap) - sft_weight * (
        pairs.chosen_mean if average else pairs.chosen_logps
    )
