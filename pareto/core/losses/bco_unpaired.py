"""Binary classifier optimisation on single responses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import UnpairedLogps


@LOSSES.register(
    "bco_unpaired", source="Jung et al. (2024), Binary classifier optimization, arXiv 2404.04656"
)
def bco_unpaired(batch: UnpairedLogps, *, beta: float = 0.1, shift: float = 0.0) -> Tensor:
    """Classify desirable against undesirable responses by the implicit reward.

    L = -log sigmoid(beta l - shift) for a desirable response and -log sigmoid(shift - beta l) for an undesirable one, l its
    log-ratio of policy to reference.

    Args:
        batch: log-probabilities of B single responses; `kl_baseline` is not read.
        beta: > 0, 1/nats.
        shift: reward shift delta, a running mean of rewards in the paper; 0 is TRL's pair form taken apart.

    Returns:
        [B] float, per-response loss in nats, not reduced; ln 2 where policy equals reference and shift is 0.

    Source: Jung et al. (2024); differences: the shift is given, and prompts are not reweighted between the two kinds.
    """
    logit = beta * batch.ratio - shift
    return -F.logsigmoid(torch.where(batch.label.bool(), logit, -logit))
