"""DPO with a text that says why: rationales as extra supervision."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs, required
from pareto.errors import ConfigError


@LOSSES.register(
    "rationale",
    source="Just et al. (2024), Data-centric human preference optimization with rationales, arXiv 2407.14477; official code",
)
@needs("rationale_logps")
def rationale(
    pairs: PairLogps, *, beta: float = 0.1, gamma: float = 0.1, form: Literal["code", "nll"] = "code"
) -> Tensor:
    """-log sigmoid(beta m) - log sigmoid(gamma log pi(rationale | x, chosen, rejected)).

    A log-probability is negative and large, where -log sigmoid(gamma l) is -gamma l up to a constant: likelihood of the
    rationale with weight gamma.

    Args:
        pairs: log-probabilities of B pairs with `rationale_logps` (sums over the rationale's tokens).
        beta: > 0, 1/nats.
        gamma: >= 0, weight of the rationale.
        form: "code" as released, "nll" plain likelihood -gamma l (the paper's form, from memory).

    Returns:
        [B] float, per-pair loss in nats, not reduced.

    Raises:
        DataError: no `rationale_logps`.
        ConfigError: an unknown form.

    Source: the official code (beta 0.1, gamma 0.1); differences: none with form "code".
    """
    logps = required(pairs, "rationale_logps")
    if form not in ("code", "nll"):
        raise ConfigError(f"form must be 'code' or 'nll'; got {form!r}")
    extra = -F.logsigmoid(gamma * logps) if form == "code" else -gamma * logps
    return -F.logsigmoid(beta * pairs.gap) + extra
