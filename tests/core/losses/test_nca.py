"""Noise contrastive alignment: its formula and first gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pareto.core.losses.nca import nca
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
    for (c, r, *_), got in zip(columns(pairs), nca(pairs, beta=0.2).tolist()):
        by_hand = (
            -math.log(sigmoid(0.2 * c))
            - 0.5 * math.log(sigmoid(-0.2 * c))
            - 0.5 * math.log(sigmoid(-0.2 * r))
        )
        assert got == pytest.approx(by_hand, rel=1e-9)


def test_before_the_first_step():
    """(-beta / 4, beta / 4)."""
    pairs = at_ratios([0.0], [0.0])
    loss = nca(pairs, beta=0.4)
    assert loss.tolist() == pytest.approx([2 * math.log(2)])
    assert gradients(loss, pairs) == (pytest.approx([-0.1]), pytest.approx([0.1]))


def test_its_optimum_is_the_reference_times_twice_the_chance_of_winning():
    """Chosen against both as noise: pi / ref = P(wins) / (1/2), which is a policy as it stands at beta 1."""
    policy = fit_bandit(lambda pairs, *_: nca(pairs, beta=1.0), BANDIT_REWARDS[0])
    np.testing.assert_allclose(policy, BANDIT_REF * 2 * win_rates(BANDIT_REWARDS[0]), atol=1e-6)
