"""SparsePO: DPO and TDPO1 as limits, prices of masks, masks out of hidden states."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pareto.core.losses.base import PairLogps, TokenMasks
from pareto.core.losses.dpo import dpo
from pareto.core.losses.module import Setting
from pareto.core.losses.sparsepo import ActivationMasks, LearnedMasks, sparsepo
from pareto.errors import ConfigError
from tests.core.losses.pairs import complete_batch, sigmoid


class Shape:
    """As much of a live reference as a mask has to know."""

    n_layers, width = 3, 8


def tokens():
    draw = torch.Generator().manual_seed(0)
    policy, reference = -torch.rand(2, 2, 3, 4, generator=draw, dtype=torch.float64)
    return complete_batch(PairLogps, policy, reference, torch.tensor([[4, 2, 3], [1, 4, 4]]))


def masked(pairs, reward, kl):
    real = [(pairs.chosen_token_logps != 0).double(), (pairs.rejected_token_logps != 0).double()]
    return replace(pairs, masks=TokenMasks(reward * real[0], reward * real[1], kl * real[0], kl * real[1]))


def test_the_formula():
    pairs, m = tokens(), tokens().masks
    got = sparsepo(pairs, beta=0.3, l1_reward=0.02, l1_kl=0.05).tolist()
    for b, value in enumerate(got):
        u = d = 0.0
        for sign, logps, ref, kl, reward_mask, kl_mask in (
            (
                1,
                pairs.chosen_token_logps,
                pairs.ref_chosen_token_logps,
                pairs.chosen_token_kl,
                m.chosen_reward,
                m.chosen_kl,
            ),
            (
                -1,
                pairs.rejected_token_logps,
                pairs.ref_rejected_token_logps,
                pairs.rejected_token_kl,
                m.rejected_reward,
                m.rejected_kl,
            ),
        ):
            for t in range(4):
                u += sign * float(reward_mask[b, t]) * float(logps[b, t] - ref[b, t])
                d -= sign * float(kl_mask[b, t]) * float(kl[b, t])
        price = 0.02 * float(m.chosen_reward[b].sum() + m.rejected_reward[b].sum())
        price += 0.05 * float(m.chosen_kl[b].sum() + m.rejected_kl[b].sum())
        assert value == pytest.approx(-math.log(sigmoid(0.3 * (u - d))) + price)


def test_masks_of_one_and_zero_are_dpo():
    pairs = masked(tokens(), 1.0, 0.0)
    assert sparsepo(pairs, beta=0.3).tolist() == pytest.approx(dpo(pairs, beta=0.3).tolist())


def test_masks_of_one_are_tdpo1():
    """-log sigmoid(beta m - beta (SeqKL(rejected) - SeqKL(chosen))), Zeng et al. (2024), Eq. 13."""
    pairs = masked(tokens(), 1.0, 1.0)
    delta = pairs.rejected_token_kl.sum(1) - pairs.chosen_token_kl.sum(1)
    want = [-math.log(sigmoid(0.3 * (m - d))) for m, d in zip(pairs.gap.tolist(), delta.tolist())]
    assert sparsepo(pairs, beta=0.3).tolist() == pytest.approx(want)


@pytest.mark.parametrize("shared", [False, True])
def test_learned_masks_start_alive_at_one(shared):
    masks = LearnedMasks(Setting(1, Shape(), seed=3), shared=shared, dropout=0.0)
    states = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0))
    for which in ("reward", "kl"):
        value = masks.token_mask(states, which)
        assert value.tolist() == pytest.approx([1.0] * 5, abs=0.01)
        value.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in masks.parameters())
    assert len(list(masks.parameters())) == (3 if shared else 6)


def test_a_learned_mask_is_a_mixture_of_layers():
    masks = LearnedMasks(Setting(1, Shape(), seed=3))
    for p in masks.parameters():
        torch.nn.init.normal_(p, generator=torch.Generator().manual_seed(p.numel()))
    states = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0))
    w, mix, bias = (part["kl"].detach() for part in (masks.weight, masks.mixture, masks.bias))
    for h, value in zip(states, masks.token_mask(states, "kl").tolist()):
        by_hand = sum(float(mix[i]) * float(h[i] @ w[i]) for i in range(3)) + float(bias)
        assert value == pytest.approx(max(0.0, by_hand), abs=1e-5)


def test_dropout_is_drawn_once_and_only_in_training():
    masks = LearnedMasks(Setting(1, Shape()), dropout=0.5)
    states = torch.ones(40, 3, 8)
    assert (masks.seen(states) == 0).any()
    assert torch.equal(masks.eval().seen(states), states)


def test_activation_masks_are_standardised():
    masks = ActivationMasks(Setting(1, Shape()))
    states = torch.tensor([[[0.0, 2.0]], [[2.0, 4.0]]])  # means 1 and 3, so -1 and 1 standard deviations
    assert masks.token_mask(states, "reward").tolist() == pytest.approx([sigmoid(-1.0), sigmoid(1.0)])
    assert list(masks.parameters()) == []


def test_it_wants_a_live_reference():
    with pytest.raises(ConfigError, match="live reference"):
        LearnedMasks(Setting(1))
