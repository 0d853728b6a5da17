"""SimPO: length-normalised likelihood, no reference."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs


@LOSSES.register("simpo", source="Meng et al. (2024), SimPO, arXiv 2405.14734, Eq. 6")
@needs(reference=False)
def simpo(pairs: PairLogps, *, beta: float = 2.0, gamma: float = 0.5) -> Tensor:
    """-log sigmoid(beta (mean log pi(chosen) - mean log pi(rejected)) - gamma), means over response tokens.

    Args:
        pairs: log-probabilities of B pairs; the reference is not read.
        beta: > 0, tokens/nats.
        gamma: target margin, absolute (the released code asks for gamma / beta).

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Source: Meng et al. (2024), Eq. 6; defaults of the released code (beta 2, gamma / beta 0.25).
    """
    return -F.logsigmoid(beta * (pairs.chosen_mean - pairs.rejected_mean) - gamma)
