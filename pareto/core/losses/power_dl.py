"""POWER-DL: POWER with labels that follow the policy where the data do not teach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs, required
from pareto.core.losses.module import LOSS_MODULES, LossModule, Setting
from pareto.core.losses.power import power_logit
from pareto.errors import ConfigError

SOURCE = "Rashidinejad and Tian (2024), Sail into the headwind, arXiv 2412.09544; form re-derived"


@LOSSES.register("power_dl", source=SOURCE, status="unverified")
@needs(reference=False)
def power_dl(pairs: PairLogps, *, beta: float = 0.1, sft_weight: float = 5e-4) -> Tensor:
    """-l log sigmoid(g) - (1 - l) log sigmoid(-g) - sft_weight beta w_c log pi(chosen), with POWER's logit g.

    Args:
        pairs: log-probabilities of B pairs; `target` holds the labels l in [0, 1] as they stand, None is 1 (POWER).
            `moved_labels` says how they move on.
        beta: > 0, 1/nats.
        sft_weight: of the likelihood term (paper: eta; from memory).

    Returns:
        [B] float, per-pair loss in nats, not reduced. Without likelihood its gradient is 0 where sigmoid(g) = l.

    Source: arXiv 2412.09544; form and constants from memory.
    """
    logit = power_logit(pairs, beta)
    label = torch.ones_like(logit) if pairs.target is None else pairs.target.detach()
    fit = -label * F.logsigmoid(logit) - (1.0 - label) * F.logsigmoid(-logit)
    return fit - sft_weight * beta * pairs.chosen_mean


def moved_labels(labels: Tensor, pairs: PairLogps, *, beta: float, gamma: float) -> Tensor:
    """(1 - gamma) l + gamma sigmoid(g): labels after a step.

    Args:
        labels: [B] before it.
        pairs: log-probabilities of the B pairs.
        beta: as in the loss.
        gamma: in [0, 1], how fast labels follow the policy; 0 never.
    """
    return (1.0 - gamma) * labels + gamma * power_logit(pairs, beta).detach().sigmoid().to(labels.dtype)


@final
@LOSS_MODULES.register("power_dl", source=SOURCE, status="unverified")
class DynamicLabels(LossModule):
    """One label per example, 1 at first, moved on whenever its example was trained on.

    Args:
        setting: of the run; `n_examples` labels are kept.
        beta: as in the loss.
        gamma: in [0, 1]; 0.1 from memory.

    Raises:
        ConfigError: gamma outside [0, 1].
    """

    labels: Tensor

    def __init__(self, setting: Setting, *, beta: float = 0.1, gamma: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= gamma <= 1.0:
            raise ConfigError(f"power_dl needs gamma in [0, 1]; got {gamma}")
        self.beta, self.gamma = beta, gamma
        self.register_buffer("labels", torch.ones(setting.n_examples))

    def complete(self, pairs: PairLogps, extras: Mapping[str, Any]) -> PairLogps:
        """The batch with its labels as `target`."""
        return replace(pairs, target=self.labels[required(pairs, "example_id")])

    def advance(self, pairs: PairLogps) -> None:
        """Move the labels of the batch on."""
        where = required(pairs, "example_id")
        self.labels[where] = moved_labels(self.labels[where], pairs, beta=self.beta, gamma=self.gamma)
