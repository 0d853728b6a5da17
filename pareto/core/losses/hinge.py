"""Hinge loss on the implicit reward gap."""

from __future__ import annotations

from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "hinge",
    source="Zhao et al. (2023), SLiC-HF, arXiv 2305.10425; normalised as in Liu et al. (2023), RSO, arXiv 2309.06657",
)
def hinge(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """max(0, 1 - beta m), with m the gap of log-ratios of policy to reference.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats; the margin asked for is 1 / beta nats.

    Returns:
        [B] float, per-pair loss, not reduced; 1 where policy equals reference.

    Source: the hinge variant of RSO, as in TRL; differences: none.
    """
    return (1.0 - beta * pairs.gap).relu()
