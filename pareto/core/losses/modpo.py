"""Multi-objective direct preference optimisation: DPO with the other objectives as a margin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps
from pareto.errors import SimplexError


@LOSSES.register("modpo", source="Zhou et al. (2024), arXiv 2310.03708, Eq. 11")
def modpo(pairs: PairLogps, *, beta: float = 0.1, objective_weight: float = 1.0) -> Tensor:
    """Fit pairs of one objective while the weighted rewards of all others are given.

    At the optimum of E[w.r] - beta KL, beta * log(pi / pi_ref) = w.r + const(x). Solving for the trained objective k
    and putting it into Bradley-Terry gives

        L = -log sigmoid( (beta * (c - r) - sum_{j != k} w_j (r_j(chosen) - r_j(rejected))) / w_k )

    Args:
        pairs: log-probabilities of B pairs; `margin` is the [B] sum over j != k of w_j times the reward difference
            (paper: w_{-k}^T (r_{-k}(y_w) - r_{-k}(y_l))); None is a margin of 0.
        beta: > 0, 1/nats. Typical 0.1-0.5.
        objective_weight: w_k in (0, 1], weight of the objective whose pairs these are.

    Returns:
        [B] float, per-pair loss in nats, not reduced. With w_k = 1 and no margin it is DPO.

    Raises:
        SimplexError: objective_weight outside (0, 1]; that corner is another objective's own policy.

    Source: Zhou et al. (2024), Eq. 11. Differences from the released code: the margin stays in float32 (it was cast to
    bfloat16, which rounds integers above 256), and a weight of 0 is an error instead of a division by zero.
    """
    if not 0.0 < objective_weight <= 1.0:
        raise SimplexError(f"the trained objective's weight must be in (0, 1]; got {objective_weight}")
    margin = 0.0 if pairs.margin is None else pairs.margin.to(torch.float32)
    return -F.logsigmoid((beta * pairs.gap - margin) / objective_weight)
