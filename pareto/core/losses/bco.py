"""Binary classifier optimisation on pairs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "bco", source="Jung et al. (2024), Binary classifier optimization, arXiv 2404.04656; pair form of TRL"
)
def bco(pairs: PairLogps, *, beta: float = 0.1, shift: float = 0.0) -> Tensor:
    """Classify chosen against rejected by the implicit reward alone.

    L = -log sigmoid(beta c - shift) - log sigmoid(shift - beta r)

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        shift: reward shift delta, a running mean of rewards in the paper; 0 is TRL's pair form.

    Returns:
        [B] float, per-pair loss in nats, not reduced; 2 ln 2 where policy equals reference and shift is 0.

    Source: Jung et al. (2024); difference: the shift is given, its running mean is the caller's.
    """
    return -F.logsigmoid(beta * pairs.chosen_ratio - shift) - F.logsigmoid(
        shift - beta * pairs.rejected_ratio
    )
