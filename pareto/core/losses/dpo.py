"""Direct preference optimisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register("dpo", source="Rafailov et al. (2023), arXiv 2305.18290, Eq. 7; differences: none")
def dpo(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """Maximum likelihood of the preferences under the implicit reward beta * log(pi / pi_ref).

    L = -log sigmoid(beta * (c - r)), with c and r the log-ratios of policy to reference of chosen and rejected.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats. Typical 0.01-0.5.

    Returns:
        [B] float, per-pair loss in nats, not reduced; ln 2 where policy equals reference.

    Source: Rafailov et al. (2023), Eq. 7; differences from the paper: none.
    """
    return -F.logsigmoid(beta * pairs.gap)
