"""DPO: its formula, its gradient, its optimum on a bandit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pareto.core.losses.dpo import dpo
from tests.core.losses.pairs import BANDIT_REWARDS, at_ratios, fit_bandit, random_pairs, tilted


@pytest.mark.parametrize("beta", [0.01, 0.1, 2.0])
def test_the_formula(beta):
    pairs = random_pairs()
    for i, got in enumerate(dpo(pairs, beta=beta).tolist()):
        chosen = float(pairs.chosen_logps[i]) - float(pairs.ref_chosen_logps[i])
        rejected = float(pairs.rejected_logps[i]) - float(pairs.ref_rejected_logps[i])
        won = 1.0 / (1.0 + math.exp(-beta * (chosen - rejected)))
        assert got == pytest.approx(-math.log(won), rel=1e-9)


def test_before_the_first_step():
    """-ln sigmoid(0) = ln 2, and its derivative is -sigmoid(0) = -1/2 times beta."""
    pairs = at_ratios([0.0, 0.0], [0.0, 0.0])
    loss = dpo(pairs, beta=0.3)
    assert loss.tolist() == pytest.approx([math.log(2.0)] * 2)
    loss.sum().backward()
    assert pairs.chosen_logps.grad.tolist() == pytest.approx([-0.15, -0.15])
    assert pairs.rejected_logps.grad.tolist() == pytest.approx([0.15, 0.15])


def test_huge_ratios_have_finite_gradients():
    pairs = at_ratios([1000.0, -1000.0, 1000.0], [-1000.0, 1000.0, 1000.0])
    loss = dpo(pairs, beta=0.5)
    assert loss.tolist() == pytest.approx([0.0, 1000.0, math.log(2.0)])
    loss.sum().backward()
    assert pairs.chosen_logps.grad.tolist() == pytest.approx([0.0, -0.5, -0.25])


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_its_optimum_is_the_tilted_reference(beta):
    reward = BANDIT_REWARDS[0]
    policy = fit_bandit(lambda pairs, *_: dpo(pairs, beta=beta), reward)
    np.testing.assert_allclose(policy, tilted(reward / beta), atol=1e-6)
