"""Self-play preference optimisation with hard labels."""

from __future__ import annotations

from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "sppo_hard",
    source="Wu et al. (2024), Self-play preference optimization, arXiv 2405.00675, Eq. 4.7 (hard labels)",
)
def sppo_hard(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """(c - 1 / (2 beta))^2 + (r + 1 / (2 beta))^2: each log-ratio is pulled to its own constant.

    Args:
        pairs: log-probabilities of B pairs; the reference is the previous round's policy.
        beta: > 0, 1/nats (paper: 1 / eta).

    Returns:
        [B] float, per-pair loss in nats squared, not reduced.

    Source: Wu et al. (2024), with win probabilities 1 and 0, as in TRL; differences: none.
    """
    target = 0.5 / beta
    return (pairs.chosen_ratio - target) ** 2 + (pairs.rejected_ratio + target) ** 2
