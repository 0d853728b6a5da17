"""DPO under other divergences than reverse KL."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps
from pareto.errors import ConfigError

Divergence = Literal["reverse_kl", "forward_kl", "jsd", "alpha"]
LARGEST_EXPONENT = 80.0
"""exp() of more than this overflows float32."""


@LOSSES.register("fdpo", source="Wang et al. (2023), Beyond reverse KL, arXiv 2309.16240, Eq. 8")
def fdpo(
    pairs: PairLogps, *, beta: float = 0.1, divergence: Divergence = "reverse_kl", alpha: float = 0.5
) -> Tensor:
    """DPO whose optimum satisfies f'(pi / pi_ref) = (r - lambda) / beta for another divergence f.

    L = -log sigmoid(beta (f'(u_c) - f'(u_r))), u = pi / pi_ref, l = log u:
    reverse_kl f' = l; forward_kl f' = -1/u; jsd f' = log(2u / (1 + u)); alpha f' = -u^(-alpha) / alpha.
    The slope at u = 1 is 1 except for jsd (1/2), which needs twice the beta for an equal first step.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        divergence: which f.
        alpha: in (0, 1), for divergence "alpha"; near 0 it is reverse KL, near 1 forward KL.

    Returns:
        [B] float, per-pair loss in nats, not reduced; ln 2 where policy equals reference.

    Raises:
        ConfigError: an unknown divergence, or alpha outside (0, 1).

    Source: Wang et al. (2023), Eq. 8 and Table 1, and their code; difference: exponents are cut off at 80, since log-ratios
    of whole responses overflow otherwise.
    """
    if divergence not in SLOPES:
        raise ConfigError(f"divergence must be one of {', '.join(SLOPES)}; got {divergence!r}")
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha must be in (0, 1); got {alpha}")
    slope = SLOPES[divergence]
    return -F.logsigmoid(beta * (slope(pairs.chosen_ratio, alpha) - slope(pairs.rejected_ratio, alpha)))


def _power(log_ratio: Tensor, alpha: float) -> Tensor:
    return (-alpha * log_ratio).clamp(max=LARGEST_EXPONENT).exp()


SLOPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "reverse_kl": lambda ratio, _: ratio,
    "forward_kl": lambda ratio, _: -_power(ratio, 1.0),
    "jsd": lambda ratio, _: math.log(2.0) + F.logsigmoid(ratio),
    "alpha": lambda ratio, alpha: -_power(ratio, alpha) / alpha,
}
"""f'(exp(l)) by divergence, up to constants that cancel in the gap."""
