"""Policies composed of others: what they follow, what their values are fitted to, which weights are tried."""

import numpy as np
import pytest
import torch

from pareto import rng
from pareto.agents.composing import (
    RIDGE,
    STARTS,
    composition,
    returns_to_go,
    ridge,
    watched,
    weights_to_try,
)
from pareto.agents.learning import Networked, first_policies
from pareto.agents.ppo import PPOConfig
from pareto.agents.selecting import volume
from pareto.errors import ConfigError
from pareto.models.actors import agent_facts, load_actor
from tests.agents.small import cart, sea


def test_returns_to_go_by_hand():
    # two copies, gamma 1/2; the second's episode is over after its second step, and another begins
    rewards = np.array([[[1.0], [4.0]], [[2.0], [8.0]], [[4.0], [100.0]]])
    over = np.array([[False, False], [False, True], [True, True]])
    worth = returns_to_go(rewards, over, 0.5)
    # 4; 2 + 4/2 = 4; 1 + 4/2 = 3  and  100; 8; 4 + 8/2 = 8
    assert worth[..., 0].T.tolist() == [[3.0, 4.0, 4.0], [8.0, 8.0, 100.0]]


def test_the_last_layer_is_the_least_of_its_own_objective():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(50, 3)), draw.normal(size=(50, 2))
    weight, bias = ridge(torch.from_numpy(x), torch.from_numpy(y))
    # the same as least squares over rows that pull the weights to 0: sqrt(n RIDGE) I against 0, intercept free
    rows = np.vstack(
        [np.column_stack([x, np.ones(50)]), np.column_stack([np.eye(3) * np.sqrt(50 * RIDGE), np.zeros(3)])]
    )
    exact = np.linalg.lstsq(rows, np.vstack([y, np.zeros((3, 2))]), rcond=None)[0]
    np.testing.assert_allclose(weight, exact[:3], atol=1e-10)
    np.testing.assert_allclose(bias, exact[3], atol=1e-10)


def test_the_weights_that_promise_most_are_tried_first():
    best, ref = np.array([2.0, 8.0]), np.zeros(2)
    seen = {}

    def predict(weights):
        seen["weights"], units = weights, weights * best
        seen["points"] = best * units / np.linalg.norm(units, axis=1, keepdims=True)  # on an ellipse
        return seen["points"]

    chosen = weights_to_try(predict, best, ref, 5, seed=0, of=40)
    np.testing.assert_allclose(
        (seen["weights"] * best).sum(axis=1), 1.0
    )  # a simplex in units of the largest returns
    there = np.zeros((0, 2))
    for row in chosen:  # each is the best of all that were looked at, after those before it
        gains = [volume(np.vstack([there, p]), ref) for p in seen["points"]]
        np.testing.assert_array_equal(row, seen["weights"][int(np.argmax(gains))])
        there = np.vstack([there, seen["points"][int(np.argmax(gains))]])
    assert len(chosen) == 5


@pytest.fixture(scope="module")
def composed():
    task = cart(max_episode_steps=15)
    networked = Networked.of(task, PPOConfig(hidden=(8,)))
    policies = first_policies(networked, 3, seed=0)
    noise = torch.randn(policies.parameters.shape, generator=torch.Generator().manual_seed(1))
    policies.parameters.add_(0.3 * noise)
    seen = [
        watched(networked, policies, n, "mode", max_episode_steps=15, seed=0, label=f"{n}") for n in (4, 6)
    ]
    return task, policies, seen, composition(networked, policies, seen, "mode")


def test_states_are_watched_with_what_followed(composed):
    _, _, seen, _ = composed
    for found, n in zip(seen, (4, 6)):
        assert found.returns.shape == (3, n, 3)
        assert found.steps >= sum(map(len, found.states))
        for k in range(3):
            starts = found.worth[k].numpy()
            assert len(found.states[k]) == len(starts) <= 15 * n
            for episode in found.returns[k]:  # what followed the first state of an episode is its return
                assert np.isclose(starts, episode).all(axis=1).any()


def test_values_are_fitted_and_policies_left_alone(composed):
    _, policies, seen, made = composed
    networks = made.networked.networks
    before, after = networks.views(policies.parameters), networks.views(made.policies.parameters)
    for name in before:
        assert torch.equal(before[name], after[name]) == (not name.startswith("critic.")), name
    for k in range(3):  # a regression with an intercept is right on average over what it was fitted to
        raw, worth = (torch.cat([getattr(w, name)[k] for w in seen]) for name in ("states", "worth"))
        values = made._values(raw[None])[k]
        np.testing.assert_allclose(values.mean(axis=0), worth.mean(dim=0), rtol=1e-3, atol=1e-3)


def test_what_is_stored_does_what_was_played(composed, tmp_path):
    task, _, _, made = composed
    weights = np.array([0.5, 0.3, 0.2])
    actor = made.actor(weights)
    actor.save(tmp_path, agent_facts("composed", task.facts.observations, task.facts.actions))
    stored = load_actor(tmp_path)
    seen = np.random.default_rng(0).uniform(0, 1, (64, task.facts.observations.shape[0])).astype(np.float32)
    values = made._values(torch.from_numpy(seen)[None])
    np.testing.assert_allclose(
        np.stack([v.outputs(seen) for v in stored.values]), values, rtol=1e-3, atol=1e-3
    )
    assert (stored.chosen(seen) == np.einsum("knm,m->kn", values, weights).argmax(axis=0)).mean() > 0.95
    assert len(set(stored.chosen(seen).tolist())) > 1  # else the test says nothing
    with task.open(4, max_episode_steps=15) as envs:
        observations = envs.reset([1, 2, 3, 4])
    assert stored.act(observations, np.random.default_rng(0)).shape == (4,)


def test_predictions_are_means_over_starts_of_the_best_value(composed):
    task, _, _, made = composed
    weights = np.array([[1.0, 0.0, 0.0], [0.2, 0.2, 0.6]])
    seeds = [rng.derive_seed("composed starts", 3, i) for i in range(STARTS)]
    with task.open(STARTS) as envs:
        starts = torch.from_numpy(envs.reset(seeds))[None]
    values = made._values(starts)
    for w, found in zip(weights, made.predicted(weights, seed=3)):
        best = (values @ w).argmax(axis=0)
        np.testing.assert_allclose(found, values[best, np.arange(STARTS)].mean(axis=0), rtol=1e-5)


def test_networks_of_ones_own_are_refused():
    task = sea()
    networked = Networked.of(task, PPOConfig(hidden=(8,)))
    other = Networked(task, object())
    with pytest.raises(ConfigError, match="needs perceptrons"):
        composition(other, first_policies(networked, 1, 0), [], "mode")
