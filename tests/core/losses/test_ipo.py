"""Identity preference optimisation: sums and means, and its optimum on a bandit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.core.losses.ipo import ipo
from tests.core.losses.pairs import (
    BANDIT_REF,
    BANDIT_REWARDS,
    at_ratios,
    columns,
    fit_bandit,
    gradients,
    random_pairs,
    tilted,
)


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), ipo(pairs, beta=0.2).tolist()):
        assert got == pytest.approx((c - r - 2.5) ** 2)
    for (c, r, _, _, x, y), got in zip(columns(pairs), ipo(pairs, beta=0.2, average=True).tolist()):
        assert got == pytest.approx((c / x - r / y - 2.5) ** 2)


def test_before_the_first_step():
    """-1 / beta on sums."""
    pairs = at_ratios([0.0], [0.0])
    assert gradients(ipo(pairs, beta=0.1), pairs) == (pytest.approx([-10.0]), pytest.approx([10.0]))
    assert ipo(at_ratios([5.0], [0.0]), beta=0.1).tolist() == pytest.approx([0.0])


def test_its_optimum_on_a_bandit():
    """With pairs drawn uniformly, pi* = pi_ref exp(mean over j of P(i beats j) / beta) (Azar et al., Theorem 1)."""
    n = len(BANDIT_REF)
    uniform = 1.0 / np.outer(BANDIT_REF, BANDIT_REF)  # undoes that the fit draws pairs from the reference
    weight = torch.from_numpy(uniform.ravel())
    policy = fit_bandit(lambda pairs, *_: weight * ipo(pairs, beta=0.7), BANDIT_REWARDS[0])
    wins = 1.0 / (1.0 + np.exp(-(BANDIT_REWARDS[0][:, None] - BANDIT_REWARDS[0][None])))
    np.testing.assert_allclose(policy, tilted(wins.sum(1) / n / 0.7), atol=1e-6)
