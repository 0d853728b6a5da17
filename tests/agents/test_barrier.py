"""The barrier's gradient against finite differences of exact returns, and thresholds by hand."""

import numpy as np
import pytest
import torch

from pareto.agents.barrier import Barrier, thresholds
from pareto.agents.ppo import surrogate_change

REWARDS = np.array(
    [  # [2 states, 3 actions, 3 objectives]; the first action of state 0 leads on to state 1, all else ends the episode
        [[0.0, -0.1, -1.0], [1.0, 0.0, -1.0], [0.0, 1.0, -2.0]],
        [[3.0, 0.0, -2.0], [0.0, 2.0, -1.0], [0.5, 0.5, -4.0]],
    ]
)


def returns(theta):
    """[3] exact expected returns (gamma 1) of the softmax policy with logits theta [2, 3]."""
    p = torch.softmax(theta, -1)
    r = torch.tensor(REWARDS)
    second = p[1] @ r[1]
    return p[0] @ r[0] + p[0, 0] * second


def objective(theta, floors, spans, climbs, t):
    """C-MORL's constrained objective with the tangent below slack 1/t^2, of exact returns."""
    g = returns(theta)
    slack = (g - floors) / spans
    tangent = t**2 * (slack - 1 / t**2) + np.log(1 / t**2)
    log = torch.where(slack >= 1 / t**2, torch.log(slack.clamp_min(1e-9)), tangent)
    others = [j for j in range(3) if j != climbs]
    return g[climbs] / spans[climbs] + log[others].sum() / t


def by_differences(function, theta, h=1e-5):
    """Central differences, number by number."""
    found = torch.zeros_like(theta)
    for i in np.ndindex(*theta.shape):
        up, down = theta.clone(), theta.clone()
        up[i] += h
        down[i] -= h
        found[i] = (function(up) - function(down)) / (2 * h)
    return found


def surrogate_gradient(theta, aim, climbs):
    """Gradient of H sum_j c_j E[ratio A_j] with every (state, action) weighed by how often it is met and taken."""
    p = torch.softmax(theta, -1).detach()
    r = torch.tensor(REWARDS)
    values = torch.stack([returns(theta), p[1] @ r[1]]).detach()
    gains = r - values[:, None]
    gains[0, 0] += values[1]
    visits = torch.tensor([1.0, float(p[0, 0])])  # per episode
    horizon = float(visits.sum())
    aim.measured(returns(theta).detach().numpy()[None], np.array([horizon]))
    leaf = theta.clone().requires_grad_()
    ratio = torch.softmax(leaf, -1) / p
    share = (visits[:, None] * p / horizon).reshape(-1)
    flat = gains.reshape(1, 6, 3) * share[None, :, None] * 6  # an even mean of these is the mean over visits
    change = surrogate_change(ratio.detach().reshape(1, 6), flat)
    c = aim.coefficients(change.float())[0].double()
    (horizon * (surrogate_change(ratio.reshape(1, 6), flat)[0] * c).sum()).backward()
    return leaf.grad


@pytest.mark.parametrize("climbs", [0, 1, 2])
@pytest.mark.parametrize(
    "slack", [[0.5, 0.4, 0.8], [0.05, 0.02, 0.01], [-0.3, -0.1, -0.2]], ids=["wide", "tight", "outside"]
)
def test_the_gradient_is_that_of_the_constrained_objective(climbs, slack):
    """Positive, near-zero and negative returns alike: sign and size."""
    t, spans = 20.0, np.array([2.0, 1.0, 3.0])
    theta = torch.tensor([[0.3, -0.2, 0.1], [0.5, 0.0, -0.4]], dtype=torch.float64)
    floors = returns(theta).numpy() - np.array(slack)
    aim = Barrier(np.array([climbs]), returns(theta).numpy()[None], floors[None], spans, t)
    found = surrogate_gradient(theta, aim, climbs)
    known = by_differences(
        lambda x: objective(x, torch.tensor(floors), torch.tensor(spans), climbs, t), theta
    )
    assert known.abs().max() > 0.01
    torch.testing.assert_close(found, known, atol=1e-4, rtol=1e-4)


def test_a_change_of_the_policy_moves_the_slack():
    """Slack 0.4 of span 2 and a surrogate change of 0.05 a step over a horizon of 4: slack (0.4 + 0.2) / 2 = 0.3."""
    aim = Barrier(np.array([0]), np.array([[0.0, 1.0]]), np.array([[-9.0, 0.6]]), np.array([1.0, 2.0]), 10.0)
    aim.measured(np.array([[np.nan, np.nan]]), np.array([4.0]))
    c = aim.coefficients(torch.tensor([[0.0, 0.05]]))
    np.testing.assert_allclose(c, [[1.0, 1 / (10 * 0.3) / 2]], rtol=1e-5)


def test_thresholds_lie_below_every_return():
    """G - 0.1 max(|G|, span): 10 -> 9, -10 -> -11, 0 -> -0.2, 0.5 -> 0.3."""
    found = thresholds(np.array([[10.0, -10.0, 0.0, 0.5]]), np.array([2.0, 2.0, 2.0, 2.0]), 0.9)
    np.testing.assert_allclose(found, [[9.0, -11.0, -0.2, 0.3]])


def test_a_barrier_survives_being_stored():
    one, two = (
        Barrier(np.array([0]), np.array([[0.0, 1.0]]), np.array([[-9.0, 0.6]]), np.array([1.0, 2.0]), 10.0)
        for _ in range(2)
    )
    one.measured(np.array([[0.25, 1.5]]), np.array([3.0]))
    two.load(one.state())
    change = torch.tensor([[0.1, 0.2]])
    torch.testing.assert_close(one.coefficients(change), two.coefficients(change), atol=0, rtol=0)
