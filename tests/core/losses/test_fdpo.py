"""f-DPO: its slopes, its limits, its optimum on a bandit under every divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pareto.core.losses.fdpo import fdpo
from pareto.errors import ConfigError
from tests.core.losses.pairs import (
    BANDIT_REF,
    BANDIT_REWARDS,
    at_ratios,
    fit_bandit,
    gradients,
    random_pairs,
    sigmoid,
)

F_PRIME = {
    "reverse_kl": math.log,
    "forward_kl": lambda u: 1 - 1 / u,
    "jsd": lambda u: math.log(2 * u / (1 + u)),
    "alpha": lambda u: (1 - u**-0.5) / 0.5,
}


@pytest.mark.parametrize("divergence", F_PRIME)
def test_the_formula(divergence):
    """Against f' of the ratio itself."""
    slope = F_PRIME[divergence]
    ratios = [(-1.5, 0.3), (0.0, 0.0), (2.0, -1.0)]
    pairs = at_ratios([c for c, _ in ratios], [r for _, r in ratios])
    for (c, r), got in zip(ratios, fdpo(pairs, beta=0.7, divergence=divergence, alpha=0.5).tolist()):
        assert got == pytest.approx(-math.log(sigmoid(0.7 * (slope(math.exp(c)) - slope(math.exp(r))))))


@pytest.mark.parametrize(
    ("divergence", "slope"), [("reverse_kl", 1), ("forward_kl", 1), ("jsd", 0.5), ("alpha", 1)]
)
def test_before_the_first_step(divergence, slope):
    pairs = at_ratios([0.0], [0.0])
    assert gradients(fdpo(pairs, beta=0.4, divergence=divergence), pairs)[0] == pytest.approx([-0.2 * slope])


@pytest.mark.parametrize("divergence", F_PRIME)
def test_its_optimum_on_a_bandit(divergence):
    """f'(pi / pi_ref) = (r - lambda) / beta for one lambda."""
    beta = 1.5
    policy = fit_bandit(lambda pairs, *_: fdpo(pairs, beta=beta, divergence=divergence), BANDIT_REWARDS[0])
    slopes = np.array([F_PRIME[divergence](p / q) for p, q in zip(policy, BANDIT_REF)])
    shifts = BANDIT_REWARDS[0] - beta * slopes
    np.testing.assert_allclose(shifts, shifts.mean(), atol=1e-4)


def test_alpha_near_zero_is_reverse_kl():
    pairs = random_pairs()
    near = fdpo(pairs, beta=0.1, divergence="alpha", alpha=1e-7).tolist()
    assert near == pytest.approx(fdpo(pairs, beta=0.1).tolist(), rel=1e-5)


@pytest.mark.parametrize("divergence", F_PRIME)
def test_long_responses_do_not_overflow(divergence):
    pairs = at_ratios([1000.0, -1000.0], [-1000.0, 1000.0])
    loss = fdpo(pairs, beta=0.1, divergence=divergence)
    assert all(math.isfinite(x) for x in (*loss.tolist(), *gradients(loss, pairs)[0]))


def test_unknown_divergences_and_alphas():
    with pytest.raises(ConfigError, match="total_variation"):
        fdpo(random_pairs(), divergence="total_variation")
    with pytest.raises(ConfigError, match="alpha"):
        fdpo(random_pairs(), divergence="alpha", alpha=1.0)
