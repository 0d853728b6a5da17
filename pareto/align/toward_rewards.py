"""Train a policy towards known rewards of the pairs' responses, whoever won them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pareto.align.preference_job import LN2, Reference, device_tensor, fit_policy, pair_logps, pair_metrics
from pareto.cells import Cell, Fitted
from pareto.core.loop import TrainConfig
from pareto.core.losses.base import PairLogps
from pareto.core.losses.mass_anchor import mass_anchor
from pareto.core.objective import Objective, ScoredExamples
from pareto.errors import NumericsError
from pareto.models.adapters import FullFineTuning, LoRA


def fit_to_rewards(
    reference: Reference,
    rewards: np.ndarray,
    training: TrainConfig,
    adapter: LoRA | FullFineTuning,
    cell: Cell,
    *,
    beta: float,
    anchor: float = 0.0,
) -> Fitted:
    """Fit ref exp(r / beta) / Z from pairs, without a label: Bradley-Terry targets of the rewards, in expectation.

    Args:
        reference: of the job.
        rewards: [n_responses], NaN where unknown; pairs with an unknown one are left out.
        training: optimisation.
        adapter: what is trained.
        cell: whose policy it is.
        beta: strength of the KL regularisation, 1/nats.
        anchor: weight of `mass_anchor`.

    Raises:
        NumericsError: no pair has two known rewards.
    """
    pairs = reference.pairs
    gap = rewards[pairs.a] - rewards[pairs.b]
    rows = np.flatnonzero(np.isfinite(gap))
    if not len(rows):
        raise NumericsError(f"none of {len(pairs)} pairs has a known reward on both responses")
    examples = np.column_stack([pairs.a[rows], pairs.b[rows]])
    margin = device_tensor(gap[rows], reference.context.device)
    ref_logps = device_tensor(reference.logps[examples], reference.context.device)

    def loss(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
        of = pair_logps(scored, ref_logps, margin)
        values = toward_margin(of, beta=beta)
        if anchor:
            values = values + anchor * mass_anchor(of)
        return values, pair_metrics(of, beta)

    return fit_policy(
        reference, examples, Objective(loss), training, adapter, cell, beta=beta, first_loss=LN2 - anchor
    )


def toward_margin(pairs: PairLogps, *, beta: float) -> Tensor:
    """Expected DPO loss of a pair whose label is drawn by Bradley-Terry from its margin m = r(a) - r(b).

    L = -sigmoid(m) log sigmoid(z) - sigmoid(-m) log sigmoid(-z) with z = beta (log-ratio of a - log-ratio of b). It is
    smallest at z = m, so the optimum over all pairs is ref exp(r / beta) / Z exactly, without the noise of drawn labels.

    Args:
        pairs: with `margin` [B].
        beta: > 0, 1/nats.

    Returns:
        [B] float, nats; ln 2 where policy equals reference.

    Source: Rafailov et al. (2023), arXiv 2305.18290, Eq. 7, in expectation over the label.
    """
    z = beta * pairs.gap
    assert pairs.margin is not None
    return F.softplus(z) - torch.sigmoid(pairs.margin) * z
