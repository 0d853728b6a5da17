"""POWER: its formula and the stationarity it comes from."""

from __future__ import annotations

import math

import pytest
import torch

from pareto.core.losses.base import PairLogps
from pareto.core.losses.power import power, power_logit
from pareto.core.losses.simpo import simpo
from tests.core.losses.pairs import BANDIT_REWARDS, at_ratios, columns, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (_, _, c, r, x, y), got in zip(columns(pairs), power(pairs, beta=0.5, sft_weight=0.01).tolist()):
        gap = (c + 1) / x - (r + 1) / y
        assert got == pytest.approx(-math.log(sigmoid(0.5 * gap)) - 0.01 * 0.5 * c / x, rel=1e-9)


def test_equal_lengths_are_simpo_without_a_margin():
    pairs = at_ratios([0.2], [-0.7])
    assert power(pairs, beta=0.5, sft_weight=0.0).tolist() == pytest.approx(
        simpo(pairs, beta=0.5, gamma=0.0).tolist()
    )


def test_the_best_policy_under_weighted_entropy_explains_the_rewards():
    """At the maximum of E[r] + beta sum_i -w_i pi_i log pi_i the logit of every couple is r_i - r_j."""
    beta, reward = 0.6, torch.from_numpy(BANDIT_REWARDS[0])
    lengths = torch.tensor([1.0, 2.0, 4.0, 3.0, 1.0], dtype=torch.float64)
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=400, tolerance_grad=1e-13, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        logps = logits.log_softmax(0)
        value = (logps.exp() * (reward - beta * logps / lengths)).sum()
        (-value).backward()
        return -value

    optimizer.step(closure)
    logps = logits.detach().log_softmax(0)
    i, j = torch.arange(5).repeat_interleave(5), torch.arange(5).repeat(5)
    couples = PairLogps(logps[i], logps[j], logps[i], logps[j], lengths[i], lengths[j])
    torch.testing.assert_close(power_logit(couples, beta), reward[i] - reward[j], atol=1e-6, rtol=0)
