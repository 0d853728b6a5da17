"""Conservative DPO: labels that may be wrong."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps
from pareto.errors import ConfigError


@LOSSES.register("cdpo", source="Mitchell (2023), A note on DPO with noisy preferences, Eq. 3")
def cdpo(pairs: PairLogps, *, beta: float = 0.1, label_smoothing: float = 0.1) -> Tensor:
    """DPO on labels that are flipped with a known probability e.

    L = -(1 - e) log sigmoid(beta m) - e log sigmoid(-beta m), with m the gap of log-ratios. Unlike DPO it has a finite
    optimum for a pair seen once: beta m* = log((1 - e) / e).

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        label_smoothing: e in [0, 0.5); 0 is DPO.

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Raises:
        ConfigError: e outside [0, 0.5), where labels would say nothing or the opposite.

    Source: Mitchell (2023), Eq. 3; differences: none.
    """
    if not 0.0 <= label_smoothing < 0.5:
        raise ConfigError(f"cdpo needs label_smoothing in [0, 0.5); got {label_smoothing}")
    logit = beta * pairs.gap
    return -(1.0 - label_smoothing) * F.logsigmoid(logit) - label_smoothing * F.logsigmoid(-logit)
