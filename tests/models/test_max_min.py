"""The max-min game against symmetry, a grid, and another solver of the primal problem."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from pareto.errors import NumericsError, ShapeError
from pareto.models.max_min import Draws, max_min

HALF = np.log([0.5, 0.5])


def test_symmetric_groups_share_and_nothing_moves():
    """Rewards (1, 0) and (0, 1): every policy gives one what it takes from the other, so staying is best: 1/2 each."""
    game = max_min(np.eye(2), Draws(np.zeros(2, int), HALF), 1.0)
    np.testing.assert_allclose(game.weights, [0.5, 0.5], atol=1e-4)
    np.testing.assert_allclose(game.utilities, [0.5, 0.5], atol=1e-4)
    assert game.kl_nats == pytest.approx(0.0, abs=1e-6)


def test_one_group_is_the_ordinary_optimum():
    """p = e^2 / (1 + e^2) for reward (1, 0) at beta 1/2; value beta log((1 + e^2) / 2)."""
    game = max_min(np.array([[1.0], [0.0]]), Draws(np.zeros(2, int), HALF), 0.5)
    assert game.utilities[0] == pytest.approx(np.exp(2) / (1 + np.exp(2)))
    assert game.value == pytest.approx(0.5 * np.log((1 + np.exp(2)) / 2))


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_two_replies_against_a_grid(beta: float):
    """Utilities 2p and (1 - p) of a policy that gives the first reply with probability p."""
    p = np.linspace(1e-6, 1 - 1e-6, 200_001)
    kl = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    value = np.minimum(2 * p, 1 - p) - beta * kl
    game = max_min(np.array([[2.0, 0.0], [0.0, 1.0]]), Draws(np.zeros(2, int), HALF), beta)
    assert game.value == pytest.approx(value.max(), abs=2e-5)
    assert game.utilities[0] == pytest.approx(2 * p[value.argmax()], abs=2e-3)


def test_three_groups_over_prompts_against_another_solver():
    """The primal problem as it stands: maximise t with t <= every group's mean utility, less beta times the mean KL."""
    draw, beta = np.random.default_rng(3), 0.4
    prompts, n = 3, 4
    logp = np.log(draw.dirichlet(np.ones(n), prompts))
    rewards = draw.standard_normal((prompts, n, 3)) + np.array([0.0, 0.5, -0.3])

    def policy(z: np.ndarray) -> np.ndarray:
        z = z.reshape(prompts, n)
        return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))

    def utilities(z: np.ndarray) -> np.ndarray:
        return np.einsum("pn,pnk->k", policy(z), rewards) / prompts

    def loss(x: np.ndarray) -> float:
        p = policy(x[1:])
        return -x[0] + beta * float((p * (np.log(p) - logp)).sum() / prompts)

    best = minimize(
        loss,
        np.r_[-1.0, logp.ravel()],
        constraints={"type": "ineq", "fun": lambda x: utilities(x[1:]) - x[0]},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    game = max_min(
        rewards.reshape(-1, 3), Draws(np.repeat(np.arange(prompts), n), logp.ravel()), beta, tolerance=1e-8
    )
    assert game.value == pytest.approx(-best.fun, abs=1e-5)
    np.testing.assert_allclose(game.utilities, utilities(best.x[1:]), atol=2e-3)


def test_a_group_that_is_well_off_has_no_weight():
    game = max_min(np.array([[1.0, 11.0], [0.0, 10.0]]), Draws(np.zeros(2, int), HALF), 0.5)
    assert game.weights[1] < 1e-4
    assert game.utilities[0] == pytest.approx(np.exp(2) / (1 + np.exp(2)), abs=1e-4)


def test_repeated_draws_are_a_likelier_reply():
    """Three draws of which two are the same reply stand for probabilities 2/3 and 1/3."""
    rewards = np.array([[2.0, 0.0], [0.0, 1.0]])
    enumerated = max_min(rewards, Draws(np.zeros(2, int), np.log([2 / 3, 1 / 3])), 0.3)
    drawn = max_min(rewards[[0, 1, 0]], Draws(np.zeros(3, int), np.zeros(3)), 0.3)
    assert drawn.value == pytest.approx(enumerated.value, abs=1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(NumericsError, match="finite"):
        max_min(np.array([[np.nan], [0.0]]), Draws(np.zeros(2, int), HALF), 1.0)
    with pytest.raises(ShapeError, match="ascending"):
        Draws(np.array([1, 0]), HALF)
