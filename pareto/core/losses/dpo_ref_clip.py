"""DPO that does not wait for a reference that ranks a pair wrongly."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "dpo_ref_clip",
    source="HyPO (2026), arXiv 2602.11902; one-line change to DPO, abstract seen",
    status="unverified",
)
def dpo_ref_clip(pairs: PairLogps, *, beta: float = 0.1) -> Tensor:
    """-log sigmoid(beta (d - max(0, d_ref))), with d the log-probability of chosen minus that of rejected.

    Where the reference prefers the rejected response (d_ref < 0), DPO is content as soon as the policy is less wrong than
    the reference; here it has to be right.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.

    Returns:
        [B] float, per-pair loss in nats, not reduced; DPO's where the reference ranks the pair right.

    Source: arXiv 2602.11902 as its abstract states it. Not the HyPO of arXiv 2406.01462, which samples.
    """
    reference = (pairs.ref_chosen_logps - pairs.ref_rejected_logps).detach().relu()
    return -F.logsigmoid(beta * (pairs.chosen_logps - pairs.rejected_logps - reference))
