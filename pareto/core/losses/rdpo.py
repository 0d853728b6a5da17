"""Robust DPO: an unbiased estimate of the loss on clean labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps
from pareto.errors import ConfigError


@LOSSES.register("rdpo", source="Chowdhury et al. (2024), Provably robust DPO, arXiv 2403.00409, Eq. 9")
def rdpo(pairs: PairLogps, *, beta: float = 0.1, label_smoothing: float = 0.1) -> Tensor:
    """DPO corrected for labels that are flipped with probability e, so that its mean is the loss on clean labels.

    L = (-(1 - e) log sigmoid(beta m) + e log sigmoid(-beta m)) / (1 - 2e). It is unbounded below as m grows: wants few
    passes over the data.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        label_smoothing: e in [0, 0.5); 0 is DPO.

    Returns:
        [B] float, per-pair loss in nats, not reduced; may be negative.

    Raises:
        ConfigError: e outside [0, 0.5), where no correction exists.

    Source: Chowdhury et al. (2024), Eq. 9; difference from TRL: e >= 0.5 is refused instead of warned about.
    """
    if not 0.0 <= label_smoothing < 0.5:
        raise ConfigError(f"rdpo needs label_smoothing in [0, 0.5); got {label_smoothing}")
    logit = beta * pairs.gap
    wrong, right = F.logsigmoid(-logit), F.logsigmoid(logit)
    return (-(1.0 - label_smoothing) * right + label_smoothing * wrong) / (1.0 - 2.0 * label_smoothing)
