"""Exact optimisation: reverse KL to the smoothed label distribution of a pair."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps
from pareto.errors import ConfigError


@LOSSES.register(
    "exo", source="Ji et al. (2024), Towards efficient exact optimization, arXiv 2402.00856, Eq. 16 (pairs)"
)
def exo(pairs: PairLogps, *, beta: float = 0.1, label_smoothing: float = 1e-3) -> Tensor:
    """KL(q || p) between the policy's win probability q = sigmoid(beta m) and the label p = (1 - e, e).

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        label_smoothing: e in (0, 0.5).

    Returns:
        [B] float, per-pair loss in nats, not reduced; 0 where sigmoid(beta m) = 1 - e.

    Raises:
        ConfigError: e is not in (0, 0.5): the divergence from a hard label is infinite.

    Source: Ji et al. (2024), Eq. 16; differences: none.
    """
    if not 0.0 < label_smoothing < 0.5:
        raise ConfigError(f"exo needs label_smoothing in (0, 0.5); got {label_smoothing}")
    logit = beta * pairs.gap
    right = logit.sigmoid() * (F.logsigmoid(logit) - math.log1p(-label_smoothing))
    wrong = (-logit).sigmoid() * (F.logsigmoid(-logit) - math.log(label_smoothing))
    return right + wrong
