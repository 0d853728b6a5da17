"""Identity preference optimisation: regress the gap on a constant."""

from __future__ import annotations

from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register("ipo", source="Azar et al. (2023), arXiv 2310.12036, Eq. 17")
def ipo(pairs: PairLogps, *, beta: float = 0.1, average: bool = False) -> Tensor:
    """Squared distance of the gap of log-ratios from 1 / (2 beta) (paper: tau -> beta).

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats. It means another strength for sums than for token means.
        average: log-ratios per token, as TRL does, instead of per response, as in the paper.

    Returns:
        [B] float, per-pair loss in nats squared, not reduced.

    Source: Azar et al. (2023), Eq. 17; differences: none with average=False.
    """
    gap = (
        pairs.chosen_ratio / pairs.chosen_lengths - pairs.rejected_ratio / pairs.rejected_lengths
        if average
        else pairs.gap
    )
    return (gap - 0.5 / beta) ** 2
