"""Stacked networks are the single networks they stand for."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from pareto.agents.adam import Adam
from pareto.agents.heads import DiscreteHead, GaussianHead, make_head
from pareto.agents.networks import Networks, StackedMLP
from pareto.models.actors import agent_facts, load_actor
from pareto.models.spaces import Actions, Observations
from tests.agents.small import seeded

P, B, D, M = 3, 5, 4, 2


def facts_of(space):
    """What a stored policy says of its environment."""
    return agent_facts("mlp", Observations(spaces.Box(-np.inf, np.inf, (D,))), Actions(space))


def plain(views, p, x, which, last):
    """One policy's perceptron, matrix by matrix in numpy."""
    for i in range(2):
        x = np.tanh(
            x @ views[f"hidden.{i}.weight"][p, which].numpy() + views[f"hidden.{i}.bias"][p, which].numpy()
        )
    return x @ views[f"{last}.weight"][p].numpy() + views[f"{last}.bias"][p].numpy()


def test_every_policy_is_its_own_perceptron():
    networks = StackedMLP(D, DiscreteHead(3), M, (8, 6))
    flat = networks.begin(P, seeded())
    assert flat.shape == (P, networks.size)
    flat += 0.1 * torch.randn(flat.shape, generator=seeded(1))
    views, x = networks.views(flat), torch.randn(P, B, D, generator=seeded(2))
    outputs, values = networks.both(views, x)
    for p in range(P):
        np.testing.assert_allclose(outputs[p], plain(views, p, x[p].numpy(), 0, "actor"), atol=1e-5)
        np.testing.assert_allclose(values[p], plain(views, p, x[p].numpy(), 1, "critic"), atol=1e-5)
    torch.testing.assert_close(networks.actor(views, x), outputs)
    torch.testing.assert_close(networks.critic(views, x), values)


@pytest.mark.parametrize("hidden", [(8,), (8, 6), (5, 7, 3)], ids=str)
@pytest.mark.parametrize("head", [DiscreteHead(3), GaussianHead(2)], ids=["discrete", "gaussian"])
def test_the_gradient_by_hand_is_autograds(head, hidden):
    networks = StackedMLP(D, head, M, hidden)
    flat = networks.begin(P, seeded()) + 0.1 * torch.randn(P, networks.size, generator=seeded(1))
    views, x = networks.views(flat), torch.randn(P, B, D, generator=seeded(2))
    for view in views.values():
        view.requires_grad_()
    by_outputs = torch.randn(P, B, head.width, generator=seeded(3))
    by_values = torch.randn(P, B, M, generator=seeded(4))
    outputs, values, pull = networks.vjp(views, x)
    expected_outputs, expected_values, recorded = Networks.vjp(networks, views, x)
    torch.testing.assert_close(outputs, expected_outputs)
    torch.testing.assert_close(values, expected_values)
    found = pull(by_outputs, by_values)
    torch.testing.assert_close(found, recorded(by_outputs, by_values), atol=1e-6, rtol=1e-5)
    assert not found.requires_grad
    assert not outputs.requires_grad
    assert all(bool((part != 0).any()) for name, part in networks.views(found).items() if name != "log_std")


def test_hidden_layers_are_tanh_from_end_to_end():
    networks = StackedMLP(1, DiscreteHead(1), 1, (1,))
    flat = networks.begin(1, seeded())
    views, x = networks.views(flat), torch.linspace(-30, 30, 1001)[None, :, None]
    for name, value in (("hidden.0.weight", 1.0), ("actor.weight", 1.0)):
        views[name].fill_(value)
    expected = np.tanh(x.double().numpy())
    np.testing.assert_allclose(networks.actor(views, x), expected, atol=2e-7, rtol=0)


def test_fresh_policies_differ_and_act_almost_evenly():
    networks = StackedMLP(D, DiscreteHead(3), M)
    views = networks.views(networks.begin(P, seeded()))
    weight = views["hidden.1.weight"][:, 0]
    torch.testing.assert_close(
        weight[0] @ weight[0].T, 2.0 * torch.eye(64), atol=1e-4, rtol=0
    )  # gain sqrt(2)
    assert not torch.allclose(weight[0], weight[1])
    assert networks.actor(views, torch.randn(P, B, D)).abs().max() < 0.1


@pytest.mark.parametrize("actions", ["mode", "sample"])
@pytest.mark.parametrize(
    "space", [spaces.Discrete(3, start=5), spaces.Box(-0.5, np.array([0.5, 2.0], dtype=np.float32))], ids=str
)
def test_what_is_stored_acts_as_what_was_trained(space, actions, tmp_path):
    head = make_head(Actions(space))
    networks = StackedMLP(D, head, M, (8, 8))
    flat = networks.begin(P, seeded()) + 0.3 * torch.randn(P, networks.size, generator=seeded(1))
    offset, scale = np.arange(D) / 10, np.arange(1, D + 1) / 2
    networks.store(flat[1], offset, scale, actions, tmp_path / "p", facts_of(space))
    raw = np.random.default_rng(0).normal(size=(B, D))
    inputs = torch.tensor((raw - offset) * scale, dtype=torch.float32).expand(P, B, D)
    views = networks.views(flat)
    outputs = networks.actor(views, inputs)
    actor = load_actor(tmp_path / "p")
    if actions == "mode":
        found = actor.act(raw, np.random.default_rng(0))
        np.testing.assert_allclose(found, head.mode(outputs)[1], atol=1e-5)
        assert all(space.contains(a) for a in Actions(space).decode(found, B))
        return
    drawn = np.array([actor.act(raw[:1], np.random.default_rng(i))[0] for i in range(4000)])
    if isinstance(space, spaces.Discrete):
        shares = np.bincount(drawn, minlength=3) / len(drawn)
        # 4000 draws: a share's standard error is below 0.008
        np.testing.assert_allclose(shares, torch.softmax(outputs[1, 0], -1), atol=0.03)
    else:
        std = views["log_std"][1].exp().numpy()
        np.testing.assert_allclose(drawn.mean(0), outputs[1, 0], atol=5 * std.max() / 4000**0.5)
        np.testing.assert_allclose(drawn.std(0), std, rtol=0.06)  # 5 standard errors


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.Box(-1, 1, (3,), dtype=np.float32)], ids=str)
def test_log_probabilities_and_entropies_are_torchs(space):
    head = make_head(Actions(space))
    outputs = torch.randn(P, B, head.width, generator=seeded())
    views = {"log_std": torch.randn(P, head.width, generator=seeded(1))}
    actions = head.sample(outputs, views, seeded(2))
    logps, entropy = head.logps(outputs, views, actions)
    if isinstance(head, GaussianHead):
        known = torch.distributions.Independent(
            torch.distributions.Normal(outputs, views["log_std"][:, None].exp().expand_as(outputs)), 1
        )
    else:
        known = torch.distributions.Categorical(logits=outputs)
    torch.testing.assert_close(logps, known.log_prob(actions))
    torch.testing.assert_close(entropy, known.entropy())


def test_what_adam_hardly_sees_stays_out_of_the_subnormal_numbers():
    parameters = torch.zeros(1, 2)
    adam = Adam.begin(parameters)
    for _ in range(3):
        adam.step(parameters, torch.tensor([[1e-21, 1.0]]), 0.01, 10.0)  # squared: 1e-42, below 1.2e-38
    assert adam.second.min() >= torch.finfo(torch.float32).tiny
    assert 0 < -float(parameters[0, 0]) < 1e-17  # three steps of 0.01 x 1e-21 / 1e-5


def test_adam_is_torchs_with_a_clip_per_policy():
    ours = torch.randn(P, 6, generator=seeded())
    theirs = [torch.nn.Parameter(row.clone()) for row in ours]
    optimizers = [torch.optim.Adam([row], lr=0.01, eps=1e-5) for row in theirs]
    adam = Adam.begin(ours)
    for i in range(5):
        gradient = torch.randn(P, 6, generator=seeded(10 + i)) * torch.tensor([[0.01], [1.0], [100.0]])
        for row, own, optimizer in zip(theirs, gradient.clone(), optimizers):
            row.grad = own
            torch.nn.utils.clip_grad_norm_([row], 0.5)
            optimizer.step()
        adam.step(ours, gradient, 0.01, 0.5)
    torch.testing.assert_close(ours, torch.stack([row.detach() for row in theirs]), atol=1e-6, rtol=1e-5)
