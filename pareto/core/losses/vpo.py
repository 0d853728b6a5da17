"""Value-incentivised preference optimisation, offline: DPO that is pessimistic about what the data do not show."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps


@LOSSES.register(
    "vpo", source="Cen et al. (2024), VPO, arXiv 2405.19320; offline form re-derived", status="unverified"
)
def vpo(pairs: PairLogps, *, beta: float = 0.1, alpha: float = 0.1) -> Tensor:
    """-log sigmoid(beta m) - alpha beta log pi(y_cal).

    The value of the best policy for a reward r with E_cal[r] = 0 is J*(r) = -beta E_cal[log pi_r / pi_ref], so the second
    term keeps the implicit reward from promising more than the calibration responses bear out.

    Args:
        pairs: log-probabilities of B pairs; `calibration_logps` belongs to a response of the calibration distribution,
            None takes the chosen one, which makes this RPO with sft_weight = alpha beta.
        beta: > 0, 1/nats.
        alpha: >= 0, strength of the pessimism (order from memory; sweep it).

    Returns:
        [B] float, per-pair loss in nats, not reduced. With alpha = 0 it is DPO.

    Source: Cen et al. (2024), offline form; the likelihood is summed over tokens as the identity wants it.
    """
    calibration = pairs.chosen_logps if pairs.calibration_logps is None else pairs.calibration_logps
    return -F.logsigmoid(beta * pairs.gap) - alpha * beta * calibration
