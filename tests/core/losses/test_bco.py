"""Binary classifier: its formula, its shift, its first gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pareto.core.losses.bco import bco
from tests.core.losses.pairs import (
    BANDIT_REF,
    BANDIT_REWARDS,
    at_ratios,
    columns,
    fit_bandit,
    gradients,
    random_pairs,
    sigmoid,
    win_rates,
)


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), bco(pairs, beta=0.2, shift=0.3).tolist()):
        by_hand = -math.log(sigmoid(0.2 * c - 0.3)) - math.log(sigmoid(0.3 - 0.2 * r))
        assert got == pytest.approx(by_hand, rel=1e-9)


def test_before_the_first_step():
    """(-beta / 2, beta / 2)."""
    pairs = at_ratios([0.0], [0.0])
    assert gradients(bco(pairs, beta=0.4), pairs) == (pytest.approx([-0.2]), pytest.approx([0.2]))


def test_its_optimum_is_the_odds_of_winning():
    """Each response is classified by itself: beta log(pi / ref) = log odds + shift, if the shift makes that a policy."""
    beta, won = 0.8, win_rates(BANDIT_REWARDS[0])
    odds = (won / (1 - won)) ** (1 / beta)
    shift = -beta * math.log(BANDIT_REF @ odds)
    policy = fit_bandit(lambda pairs, *_: bco(pairs, beta=beta, shift=shift), BANDIT_REWARDS[0])
    np.testing.assert_allclose(policy, BANDIT_REF * odds / (BANDIT_REF @ odds), atol=1e-6)
