"""Alignment by optimal transport: the whole distribution of rewards of chosen responses above that of rejected ones."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs
from pareto.errors import ConfigError

SOURCE = "Melnyk et al. (2024), Distributional preference alignment via optimal transport, arXiv 2406.05882"


@LOSSES.register("aot", source=f"{SOURCE}; paired form, logistic violation, as loss_type 'aot' of TRL")
@needs(coupled=True)
def aot(pairs: PairLogps, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """Compare the sorted gaps of the policy with the sorted gaps of the reference.

    With g_(i) the i-th smallest gap log pi(chosen) - log pi(rejected) of the micro-batch and h_(i) that of the reference,
    L_i = -(1 - e) log sigmoid(beta (g_(i) - h_(i))) - e log sigmoid(-beta (g_(i) - h_(i))).

    Args:
        pairs: log-probabilities of B pairs, which are compared with each other: the loss is one of the micro-batch.
        beta: > 0, 1/nats.
        label_smoothing: e in [0, 0.5).

    Returns:
        [B] float in nats, not reduced; entry b belongs to the rank that pair b's own gap has in the batch. ln 2 where
        policy equals reference.

    Raises:
        ConfigError: e outside [0, 0.5).

    Source: Melnyk et al. (2024), paired form; as in TRL, which sorts within a process too.
    """
    gap = pairs.chosen_logps - pairs.rejected_logps
    ref_gap = (pairs.ref_chosen_logps - pairs.ref_rejected_logps).detach()
    return _violation(gap, ref_gap, beta, label_smoothing)


@LOSSES.register("aot_unpaired", source=f"{SOURCE}; unpaired form, as loss_type 'aot_unpaired' of TRL")
@needs(coupled=True)
def aot_unpaired(pairs: PairLogps, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """Compare the sorted log-ratios of the chosen responses with those of the rejected ones.

    As `aot`, with the i-th smallest log-ratio c_(i) and r_(i) in place of the gaps, so chosen and rejected need not
    belong together.

    Args:
        pairs: log-probabilities of B pairs, which are compared with each other: the loss is one of the micro-batch.
        beta: > 0, 1/nats.
        label_smoothing: e in [0, 0.5).

    Returns:
        [B] float in nats, not reduced; entry b belongs to the rank that chosen response b has in the batch. ln 2 where
        policy equals reference.

    Raises:
        ConfigError: e outside [0, 0.5).

    Source: Melnyk et al. (2024), unpaired form; as in TRL, which sorts within a process too.
    """
    return _violation(pairs.chosen_ratio, pairs.rejected_ratio, beta, label_smoothing)


def _violation(high: Tensor, low: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """[B] loss of each `high` against the `low` of the same rank."""
    if not 0.0 <= label_smoothing < 0.5:
        raise ConfigError(f"aot needs label_smoothing in [0, 0.5); got {label_smoothing}")
    rank = high.argsort(stable=True).argsort()
    logit = beta * (high - low.sort().values[rank])
    return -(1.0 - label_smoothing) * F.logsigmoid(logit) - label_smoothing * F.logsigmoid(-logit)
