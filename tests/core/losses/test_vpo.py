"""VPO offline: its limits, and the identity it comes from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pareto.core.losses.dpo import dpo
from pareto.core.losses.rpo import rpo
from pareto.core.losses.vpo import vpo
from tests.core.losses.pairs import (
    BANDIT_REF,
    BANDIT_REWARDS,
    at_ratios,
    columns,
    fit_bandit,
    gradients,
    random_pairs,
    sigmoid,
    tilted,
)


def test_the_formula():
    pairs = random_pairs(calibration_logps=torch.linspace(-9, -3, 7, dtype=torch.float64))
    got = vpo(pairs, beta=0.2, alpha=0.5).tolist()
    for (c, r, *_), y, value in zip(columns(pairs), pairs.calibration_logps.tolist(), got):
        assert value == pytest.approx(-math.log(sigmoid(0.2 * (c - r))) - 0.5 * 0.2 * y, rel=1e-9)


def test_without_pessimism_it_is_dpo():
    pairs = random_pairs()
    assert vpo(pairs, beta=0.2, alpha=0.0).tolist() == dpo(pairs, beta=0.2).tolist()


def test_calibrated_by_the_chosen_response_it_is_rpo():
    pairs = random_pairs()
    want = rpo(pairs, beta=0.2, sft_weight=0.5 * 0.2)
    for calibration in (None, pairs.chosen_logps):
        got = vpo(replace(pairs, calibration_logps=calibration), beta=0.2, alpha=0.5)
        assert got.tolist() == pytest.approx(want.tolist())


def test_before_the_first_step():
    """-(beta / 2 + alpha beta) and beta / 2."""
    pairs = at_ratios([0.0], [0.0])
    got = gradients(vpo(pairs, beta=0.2, alpha=0.5), pairs)
    assert got == (pytest.approx([-0.2]), pytest.approx([0.1]))


def test_the_second_term_is_the_value_of_the_best_policy():
    """J*(r) = max E_pi[r] - beta KL = beta log E_ref exp(r / beta) = -beta E_cal[log pi_r / ref] where E_cal[r] = 0."""
    beta, calibration = 0.4, np.array([0.1, 0.3, 0.2, 0.2, 0.2])
    reward = BANDIT_REWARDS[0] - calibration @ BANDIT_REWARDS[0]
    best = tilted(reward / beta)
    value = best @ reward - beta * best @ np.log(best / BANDIT_REF)
    assert value == pytest.approx(beta * math.log(BANDIT_REF @ np.exp(reward / beta)))
    assert -beta * calibration @ np.log(best / BANDIT_REF) == pytest.approx(value)


def test_pessimism_lowers_what_the_policy_promises():
    """With the reference as calibration its mean log-probability goes up, so J* of the fitted reward goes down."""

    def fitted(alpha):
        reference = torch.from_numpy(BANDIT_REF)

        def loss(pairs, first, second):
            # log pi of every response stands in the chosen column once per opponent
            logps = pairs.chosen_logps.view(5, 5)[:, 0]
            return vpo(
                replace(pairs, calibration_logps=(reference * logps).sum().expand(25)), beta=1.0, alpha=alpha
            )

        return fit_bandit(loss, BANDIT_REWARDS[0])

    promises = [-BANDIT_REF @ np.log(fitted(alpha) / BANDIT_REF) for alpha in (0.0, 0.2, 1.0)]
    assert promises[0] > promises[1] > promises[2] > 0
