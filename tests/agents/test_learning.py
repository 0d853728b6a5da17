"""A population learns what each of its policies would, counts true steps, and goes on from a kill bit for bit."""

import numpy as np
import pytest
import torch

from pareto.agents.adam import Adam
from pareto.agents.aims import Weighted
from pareto.agents.heads import DiscreteHead, GaussianHead
from pareto.agents.learning import Learning, Networked, first_policies
from pareto.agents.networks import StackedMLP
from pareto.agents.ppo import Batch, Learner, PPOConfig, improve, policy_loss, surrogate_change
from pareto.tasks.env import EnvTask
from tests.agents.small import cart, sea, seeded

SMALL = PPOConfig(envs=4, steps=16, epochs=2, minibatch=32, hidden=(16, 16))
WEIGHTS = np.array([[0.9, 0.1], [0.1, 0.9]])


def begin(task, weights=WEIGHTS, config=SMALL, limit=None):
    networked = Networked.of(task, config)
    start = first_policies(networked, len(weights), 0)
    return Learning(
        networked, start, Weighted(weights), config, max_episode_steps=limit, window=16, seed=0, stage="test"
    )


def test_the_surrogate_change_is_a_mean_of_products():
    ratio = torch.tensor([[1.0, 1.5, 0.5]])
    gains = torch.tensor([[[1.0, 0.0], [2.0, 4.0], [6.0, -2.0]]])
    # (0*1 + .5*2 - .5*6) / 3 and (0 + .5*4 + .5*2) / 3
    torch.testing.assert_close(surrogate_change(ratio, gains), torch.tensor([[-2 / 3, 1.0]]))


def test_the_policy_loss_is_ppos_on_the_standardised_sum():
    draw = seeded()
    gains = torch.randn(2, 50, 3, generator=draw)
    blank = torch.zeros(2, 50)
    batch = Batch(blank[..., None], blank, blank, gains, gains)
    c = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 2.0]])
    ratio = torch.rand(2, 50, generator=draw) * 2
    loss = policy_loss(ratio, gains, c, batch, 0.2)
    for p in range(2):
        a = (gains[p] * c[p]).sum(-1)
        a = (a - a.mean()) / a.std(unbiased=False)
        known = -torch.minimum(ratio[p] * a, ratio[p].clamp(0.8, 1.2) * a).mean()
        torch.testing.assert_close(loss[p], known, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", [DiscreteHead(3), GaussianHead(2)], ids=["discrete", "gaussian"])
def test_an_update_follows_the_gradient_of_the_whole_loss(head):
    p, n, m, draw = 2, 20, 2, seeded()
    networks = StackedMLP(4, head, m, (6, 5))
    flat = networks.begin(p, seeded(1)) + 0.3 * torch.randn(p, networks.size, generator=draw)
    views = networks.views(flat)
    for view in views.values():
        view.requires_grad_()
    seen, gains, targets = (torch.randn(p, n, k, generator=draw) for k in (4, m, m))
    actions = head.sample(networks.actor(views, seen), views, draw).detach()
    batch = Batch(seen, actions, -3 + torch.rand(p, n, generator=draw), gains, targets)
    c, config = torch.tensor([[1.0, 0.5], [0.2, 2.0]]), PPOConfig(epochs=1, minibatch=n, max_norm=0.7)

    outputs, values = networks.both(views, seen)
    logps, entropy = head.logps(outputs, views, actions)
    loss = policy_loss((logps - batch.logps).exp(), gains, c, batch, config.clip) - 0.1 * entropy.mean(1)
    loss = loss + config.value * 0.5 * ((values - targets) ** 2).sum((1, 2)) / n
    known = torch.cat([g.flatten(1) for g in torch.autograd.grad(loss.sum(), list(views.values()))], 1)
    known *= (0.7 / known.norm(dim=1, keepdim=True)).clamp_max(1)

    adam = Adam.begin(flat)
    learner = Learner(networks, views, flat, adam, config, draw, lr=1e-3, entropy=0.1)
    improve(learner, batch, lambda change: c)
    torch.testing.assert_close(adam.first, 0.1 * known, atol=1e-7, rtol=1e-4)  # b1 = 0.9, from 0


def test_values_may_look_farther_than_the_score():
    near, far, same = (begin(cart(), config=SMALL.model_copy(update={"gamma": g})) for g in (0.5, 0.99, None))
    targets, returns = [], []
    for learning in (near, far, same):
        pop, collector = learning.population, learning.collector
        rollout = collector.collect(pop.networks, pop.views, pop.scaler, 64, pop.draw)
        targets.append(pop._batch(rollout, learning.aim).targets[..., 2])  # fuel: every step costs some
        returns.append(collector.window.means())
    assert (targets[0].mean() > 3 * targets[1].mean()) & (targets[1].mean() < 0)
    for other in returns:
        np.testing.assert_array_equal(other, returns[0])  # scored alike
    assert near.population.gamma == far.population.gamma == 0.98
    assert not torch.equal(targets[1], targets[2])


def test_gaussians_begin_as_wide_as_told():
    networked = Networked.of(EnvTask(id="pareto/Building3-v0"), PPOConfig(std=0.25, hidden=(4,)))
    views = networked.networks.views(first_policies(networked, 2, 0).parameters)
    torch.testing.assert_close(views["log_std"].exp(), torch.full((2, 15), 0.25))


def test_settings_that_came_later_leave_stored_configs_alone():
    assert not {"gamma", "std"} & PPOConfig().model_dump(mode="json").keys()
    told = PPOConfig(gamma=0.995, std=0.5).model_dump(mode="json")
    assert (told["gamma"], told["std"]) == (0.995, 0.5)


def test_steps_are_counted_truly():
    learning = begin(sea())
    taken = []
    real = learning.collector.envs.step
    learning.collector.envs.step = lambda a: (taken.append(len(a)), real(a))[1]
    learning.step(2)
    learning.step(2)
    assert learning.steps == sum(taken) == 2 * 2 * 4 * 16


@pytest.mark.parametrize("task", [sea(), cart()], ids=["sea", "cart"])
def test_a_resumed_stage_equals_an_uninterrupted_one(task):
    m = len(task.objectives)
    weights = np.eye(m)[:2]
    whole, first, second = (begin(task, weights, limit=20) for _ in range(3))
    for _ in range(4):
        whole.step(4)
    first.step(4)
    first.step(4)
    tensors, facts = first.state()
    second.load({k: v.detach().clone() for k, v in tensors.items()}, facts)
    second.step(4)
    second.step(4)
    torch.testing.assert_close(second.population.parameters, whole.population.parameters, atol=0, rtol=0)
    np.testing.assert_array_equal(second.collector.window.returns, whole.collector.window.returns)


def test_a_cut_off_episode_is_worth_what_would_have_followed():
    """The critic's value of the last observation stands in for the rest; after a real end nothing does."""
    learning = begin(sea(), limit=5)
    population = learning.population
    rollout = learning.collector.collect(
        population.networks, population.views, population.scaler, 16, population.draw
    )
    t, p, e = rollout.cut
    assert len(t) > 0
    assert bool(rollout.ended[t, p, e].all())
    with torch.no_grad():
        found = population._values_of(rollout.cut_observations, p)
        for k in range(len(t)):
            one = population.networks.critic(
                {n: v[p[k] : p[k] + 1] for n, v in population.views.items()},
                rollout.cut_observations[k][None, None],
            )
            torch.testing.assert_close(found[k], one[0, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_weighted_sums_learn_the_ends_of_the_treasure_front():
    """Time alone: the nearest treasure, one step. Treasure alone: value 23.7 at most, discounted 23.7 * .99^18 = 19.78."""
    learning = begin(sea(), config=PPOConfig(envs=8, steps=64, lr=2e-3, max_norm=10.0))
    for _ in range(60):
        learning.step(60)
    means = learning.collector.window.means()
    assert means[1, 1] > -1.5
    assert means[0, 0] > 15.0
