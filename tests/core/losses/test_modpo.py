"""MODPO: its formula for several margins, DPO as a limit, its optimum on a bandit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pareto.core.losses.dpo import dpo
from pareto.core.losses.modpo import modpo
from pareto.errors import SimplexError
from tests.core.losses.pairs import BANDIT_REWARDS, at_ratios, fit_bandit, random_pairs, tilted

WEIGHTS = {2: (0.6, 0.4), 3: (0.5, 0.2, 0.3), 5: (0.3, 0.1, 0.25, 0.15, 0.2)}


@pytest.mark.parametrize("m", WEIGHTS)
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_the_formula(m, beta):
    w, draw = WEIGHTS[m], np.random.default_rng(m)
    rewards = draw.normal(size=(2, 7, m))  # of chosen and rejected
    margin = sum(w[j] * (rewards[0, :, j] - rewards[1, :, j]) for j in range(1, m))
    pairs = random_pairs(margin=torch.from_numpy(margin))
    for i, got in enumerate(modpo(pairs, beta=beta, objective_weight=w[0]).tolist()):
        implicit = beta * (
            float(pairs.chosen_logps[i])
            - float(pairs.ref_chosen_logps[i])
            - float(pairs.rejected_logps[i])
            + float(pairs.ref_rejected_logps[i])
        )
        others = sum(w[j] * rewards[0, i, j] for j in range(1, m))
        others -= sum(w[j] * rewards[1, i, j] for j in range(1, m))
        assert got == pytest.approx(math.log1p(math.exp(-(implicit - others) / w[0])), rel=1e-6)


def test_with_all_weight_and_no_margin_it_is_dpo():
    pairs = random_pairs()
    torch.testing.assert_close(modpo(pairs, beta=0.2), dpo(pairs, beta=0.2), rtol=0, atol=0)
    without = random_pairs(margin=torch.zeros(7, dtype=torch.float64))
    torch.testing.assert_close(modpo(without, beta=0.2), dpo(pairs, beta=0.2))


def test_its_gradient_where_nothing_is_decided_yet():
    """Where beta (c - r) equals the margin, the derivative is -beta / (2 w)."""
    pairs = at_ratios([4.0], [0.0], margin=torch.tensor([1.0]))
    modpo(pairs, beta=0.25, objective_weight=0.5).sum().backward()
    assert pairs.chosen_logps.grad.tolist() == pytest.approx([-0.25])
    assert pairs.rejected_logps.grad.tolist() == pytest.approx([0.25])


def test_huge_ratios_have_finite_gradients():
    pairs = at_ratios([1000.0, -1000.0], [-1000.0, 1000.0], margin=torch.tensor([-1000.0, 1000.0]))
    modpo(pairs, beta=0.5, objective_weight=0.25).sum().backward()
    assert pairs.chosen_logps.grad.tolist() == pytest.approx([0.0, -2.0])


@pytest.mark.parametrize("weight", [0.0, -0.1, 1.1, math.nan])
def test_weights_outside_the_simplex_are_refused(weight):
    with pytest.raises(SimplexError, match="in \\(0, 1\\]"):
        modpo(random_pairs(), objective_weight=weight)


def test_margins_are_not_rounded_to_half_precision():
    pairs = random_pairs(dtype=torch.bfloat16, margin=torch.tensor([257.0] * 7))
    zero = at_ratios([0.0], [0.0], margin=torch.tensor([257.0]))
    assert modpo(zero).item() == pytest.approx(257.0)
    assert modpo(pairs).dtype == torch.float32


@pytest.mark.parametrize("w", [(0.6, 0.4), (0.4, 0.35, 0.25)])
def test_its_optimum_is_the_reference_tilted_by_all_weighted_rewards(w):
    """Labels come from the trained objective alone, the others enter through the margin."""
    beta, rewards = 0.5, BANDIT_REWARDS[: len(w)]
    others = sum(weight * reward for weight, reward in zip(w[1:], rewards[1:]))

    def loss(pairs, first, second):
        margin = torch.from_numpy(others[first] - others[second])
        return modpo(
            type(pairs)(**(vars(pairs) | {"margin": margin})),
            beta=beta,
            objective_weight=w[0],
        )

    policy = fit_bandit(loss, rewards[0])
    np.testing.assert_allclose(policy, tilted(np.array(w) @ rewards / beta), atol=1e-6)
