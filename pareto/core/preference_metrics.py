"""Figures of preference training, per example and on the device: those users of TRL know, and those nobody reports."""

from __future__ import annotations

import torch
from torch import Tensor

from pareto.core.losses.base import PairLogps, UnpairedLogps


@torch.no_grad()
def pair_metrics(
    pairs: PairLogps, *, beta: float, confidence: float = 0.9, reference: bool = True
) -> dict[str, Tensor]:
    """What a batch of pairs says of policy and reference.

    - rewards/chosen, /rejected, /margins, /accuracies: of the implicit reward beta log(pi / pi_ref);
    - ranking_accuracy: whether the policy alone puts chosen before rejected, which a reward accuracy of 1 does not imply;
    - idealised_ranking_accuracy: whether the optimum of DPO would, (ref_c - ref_r) + log(a / (1 - a)) / beta > 0: no
      training can rank right what the reference ranks wrong by more than the labels are sure of;
    - flips/gained, flips/lost: reference wrong and policy right, and the other way round;
    - logps/chosen, logps/rejected.

    Args:
        pairs: log-probabilities of B pairs.
        beta: > 0, 1/nats.
        confidence: a in (0.5, 1), probability that a label is right; `pairs.target` where the data give it.
        reference: False leaves out what needs the reference.

    Returns:
        name -> [B] float, without gradient.

    Source: Chen et al. (2024), Preference learning algorithms do not learn preference rankings, arXiv 2405.19534.
    """
    right = pairs.chosen_logps > pairs.rejected_logps
    figures = {
        "ranking_accuracy": right.float(),
        "logps/chosen": pairs.chosen_logps,
        "logps/rejected": pairs.rejected_logps,
    }
    if not reference:
        return figures
    chosen, rejected = beta * pairs.chosen_ratio, beta * pairs.rejected_ratio
    ref_gap = pairs.ref_chosen_logps - pairs.ref_rejected_logps
    sure = torch.full_like(ref_gap, confidence) if pairs.target is None else pairs.target
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).float(),
        **figures,
        "idealised_ranking_accuracy": (ref_gap + sure.logit() / beta > 0).float(),
        "flips/gained": (right & (ref_gap <= 0)).float(),
        "flips/lost": (~right & (ref_gap > 0)).float(),
    }


@torch.no_grad()
def unpaired_metrics(batch: UnpairedLogps, *, beta: float, desirable_share: float) -> dict[str, Tensor]:
    """What a batch of single responses says.

    Means over the desirable and over the undesirable responses are written so that their mean over *all* examples is right
    for the whole data set: a figure of one kind is divided by the share of that kind.

    Args:
        batch: log-probabilities of B responses.
        beta: > 0, 1/nats.
        desirable_share: of the data set, in [0, 1].

    Returns:
        name -> [B] float, without gradient: rewards/chosen, /rejected, /margins, /accuracies, logps/chosen, /rejected, kl.
    """
    good = batch.label.float()
    reward = beta * batch.ratio
    baseline = torch.zeros(()) if batch.kl_baseline is None else batch.kl_baseline
    baseline = baseline.to(reward).expand_as(reward)
    of_good = good / max(desirable_share, 1e-9)
    of_bad = (1.0 - good) / max(1.0 - desirable_share, 1e-9)
    return {
        "rewards/chosen": of_good * reward,
        "rewards/rejected": of_bad * reward,
        "rewards/margins": (of_good - of_bad) * reward,
        "rewards/accuracies": ((reward > beta * baseline.clamp(min=0.0)) == batch.label.bool()).float(),
        "logps/chosen": of_good * batch.logps,
        "logps/rejected": of_bad * batch.logps,
        "kl": baseline,
    }
