"""The constrained step against a general solver of the same problem, and what it does to real policies."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pareto.agents.adam import Adam
from pareto.agents.heads import DiscreteHead
from pareto.agents.networks import StackedMLP
from pareto.agents.ppo import Batch, Learner, PPOConfig
from pareto.agents.trust_region import (
    TrustRegion,
    _divergence,
    _surrogate,
    conjugate_gradients,
    fit_critics,
    multipliers,
)
from tests.agents.small import seeded


def primal(fisher, g, b, slack, delta):
    """Max g.x subject to slack + b x >= 0 and x.F.x / 2 <= delta, by sequential quadratic programming."""
    rules = [{"type": "ineq", "fun": lambda x: delta - x @ fisher @ x / 2}]
    rules += [{"type": "ineq", "fun": lambda x, i=i: slack[i] + b[i] @ x} for i in range(len(b))]
    return minimize(
        lambda x: -g @ x, np.zeros(len(g)), constraints=rules, method="SLSQP", options={"maxiter": 500}
    ).x


@pytest.mark.parametrize("k", [0, 1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_dual_solves_the_primal(k, seed):
    draw = np.random.default_rng([k, seed])
    root = draw.normal(size=(6, 6))
    fisher = root @ root.T + np.eye(6)
    g, b, delta = draw.normal(size=6), draw.normal(size=(k, 6)), 0.1
    slack = draw.uniform(0.0, 0.1, size=k)
    v = np.vstack([g, b])
    solved = np.linalg.solve(fisher, v.T).T
    prices, nu = multipliers(v @ solved.T, slack, delta)
    x = (solved[0] + prices @ solved[1:]) / nu
    known = primal(fisher, g, b, slack, delta)
    assert g @ x == pytest.approx(g @ known, rel=2e-3)
    assert (slack + b @ x >= -1e-3).all()
    assert x @ fisher @ x / 2 <= delta * 1.001


def test_what_cannot_be_met_is_said():
    """Slack -1, and the farthest step moves it by sqrt(2 x .01 x 1) = .14."""
    assert multipliers(np.eye(2), np.array([-1.0]), 0.01) is None
    assert multipliers(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([-0.1]), 0.01) is not None


def test_conjugate_gradients_solve_every_row():
    draw = np.random.default_rng(0)
    roots = torch.tensor(draw.normal(size=(3, 5, 5)))
    matrices = roots @ roots.transpose(1, 2) + 2 * torch.eye(5)
    target = torch.tensor(draw.normal(size=(3, 5)))
    found = conjugate_gradients(lambda x: (matrices @ x[..., None])[..., 0], target)
    torch.testing.assert_close(found, torch.linalg.solve(matrices, target), atol=1e-6, rtol=1e-6)


def learner_with(samples=400, p=2, m=3):
    """Two policies of three actions; each objective likes one action in some states."""
    draw = seeded()
    networks = StackedMLP(2, DiscreteHead(3), m, (8,))
    parameters = networks.begin(p, draw) + 0.1 * torch.randn(p, networks.size, generator=draw)
    views = networks.views(parameters)
    for view in views.values():
        view.requires_grad_()
    seen = torch.randn(p, samples, 2, generator=draw)
    with torch.no_grad():
        outputs = networks.actor(views, seen)
        actions = networks.head.sample(outputs, views, draw)
        logps, _ = networks.head.logps(outputs, views, actions)
    gains = torch.nn.functional.one_hot(actions, 3).float()
    gains = gains - gains.mean(1, keepdim=True)
    gains[..., 1] -= 0.5 * gains[..., 0]  # what climbs objective 0 costs objective 1
    batch = Batch(seen, actions, logps, gains, torch.zeros(p, samples, m))
    config = PPOConfig(epochs=1, minibatch=100)
    return Learner(networks, views, parameters, Adam.begin(parameters), config, draw, lr=1e-3), batch


def aim(slack, delta=0.02):
    anchors = np.zeros((2, 3))
    return TrustRegion(np.array([0, 0]), anchors, anchors - np.array(slack), np.ones(3), delta)


def moved(one, learner, batch):
    before = _surrogate(learner, batch).detach()
    one.improve(learner, batch)
    return (
        (_surrogate(learner, batch).detach() - before).numpy(),
        _divergence(learner, batch).detach().numpy(),
    )


def test_a_step_climbs_within_the_region():
    learner, batch = learner_with()
    change, divergence = moved(aim([9.0, 9.0, 9.0]), learner, batch)
    assert (change[:, 0] > 0.02).all()
    assert (divergence <= 1.5 * 0.02).all()
    assert (divergence > 0.005).all()


def test_a_tight_constraint_holds_and_costs_some_of_the_climb():
    free, _ = moved(aim([9.0, 9.0, 9.0]), *learner_with())
    held, _ = moved(aim([9.0, 0.005, 9.0]), *learner_with())
    assert (free[:, 1] < -0.02).all()
    assert (held[:, 1] > -0.01).all()
    assert (held[:, 0] < free[:, 0]).all()


def test_outside_it_comes_back_first():
    change, _ = moved(aim([9.0, -5.0, 9.0]), *learner_with())
    assert (change[:, 1] > 0.02).all()


def test_critics_learn_and_actors_stay_meanwhile():
    learner, batch = learner_with()
    batch.targets += 1.0
    actors = learner.networks.actor(learner.views, batch.observations).detach()
    error = [float((learner.networks.critic(learner.views, batch.observations) - 1).pow(2).mean().detach())]
    for _ in range(20):
        fit_critics(learner, batch)
    error.append(
        float((learner.networks.critic(learner.views, batch.observations) - 1).pow(2).mean().detach())
    )
    assert error[1] < 0.9 * error[0]
    torch.testing.assert_close(
        learner.networks.actor(learner.views, batch.observations).detach(), actors, atol=0, rtol=0
    )
