"""Ranking accuracy: whether a policy itself prefers the better response, and what no loss can do about it.

The reward accuracy that trainers log asks whether the policy moved in the right direction from its reference. Ranking
accuracy asks where it ended: whether it gives the chosen response more probability than the rejected one. The two part
wherever the reference ranks a pair wrong by a margin that the loss never makes up for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pareto.core.losses.base import PairLogps


def ranked_right(chosen_logps: Tensor, rejected_logps: Tensor) -> Tensor:
    """Say for each pair whether chosen is the likelier response; the mean is the ranking accuracy R.

    Args:
        chosen_logps: [B], nats; sums, or means per token for the length-normalised form.
        rejected_logps: [B], of the same kind.

    Returns:
        [B] float32, 1 where chosen is strictly likelier, else 0.

    Source: Chen et al. (2024), arXiv 2405.19534; differences: none.
    """
    return (chosen_logps > rejected_logps).float()


def moved_right(pairs: PairLogps) -> Tensor:
    """Say for each pair whether its log-ratio to the reference is larger for chosen; the mean is the reward accuracy.

    Returns:
        [B] float32, 1 or 0.
    """
    return (pairs.gap > 0).float()


def flips(pairs: PairLogps) -> Tensor:
    """Compare the policy's ranking of each pair with the reference's.

    Returns:
        [B] float32: 1 where only the policy ranks the pair right, -1 where only the reference did, 0 where they agree.
    """
    policy = ranked_right(pairs.chosen_logps, pairs.rejected_logps)
    return policy - ranked_right(pairs.ref_chosen_logps, pairs.ref_rejected_logps)


def ideal_log_odds(pairs: PairLogps, *, beta: float, certainty: float | Tensor) -> Tensor:
    """Log-odds of chosen to rejected under the exact optimum of DPO.

    With Bradley-Terry labels of probability a the optimum has beta * (gap of log-ratios) = log(a / (1 - a)), so

        log pi*(chosen) / pi*(rejected) = (ref_c - ref_r) + log(a / (1 - a)) / beta

    Args:
        pairs: of which only the reference's log-probabilities are read.
        beta: > 0, 1/nats.
        certainty: a in (0, 1), probability that chosen is really better; a number, or [B]. A hard label says a = 1, whose
            optimum ranks everything right and tells nothing: give the share of labels believed to be right.

    Returns:
        [B] float, nats.

    Source: Chen et al. (2024), arXiv 2405.19534, the idealised ranking accuracy; differences: none.
    """
    a = torch.as_tensor(certainty, dtype=pairs.ref_chosen_logps.dtype, device=pairs.ref_chosen_logps.device)
    return pairs.ref_chosen_logps - pairs.ref_rejected_logps + torch.logit(a) / beta


def ideally_ranked_right(pairs: PairLogps, *, beta: float, certainty: float | Tensor) -> Tensor:
    """Say for each pair whether even the exact optimum of DPO would rank it right; the mean is R*.

    Returns:
        [B] float32, 1 or 0; see `ideal_log_odds`.
    """
    return (ideal_log_odds(pairs, beta=beta, certainty=certainty) > 0).float()


def loss_when_ranked_right(pairs: PairLogps, *, beta: float) -> Tensor:
    """DPO loss below which a pair is ranked right, and above which it is ranked wrong.

    L_DPO < -log sigmoid(beta * k) with k = ref_r - ref_c, the margin by which the reference prefers the rejected one.

    Returns:
        [B] float, nats; ln 2 where the reference is indifferent, near 0 where it is far on the wrong side.

    Source: Chen et al. (2024), arXiv 2405.19534, on the loss and the ranking; follows from -log sigmoid(beta m) with m = log-odds + k.
    """
    return -torch.nn.functional.logsigmoid(beta * (pairs.ref_rejected_logps - pairs.ref_chosen_logps))
