"""Policies composed of others: what they follow, which weights are tried."""

import numpy as np
import pytest
import torch

from pareto import rng
from pareto.agents.composing import STARTS, Composition, actors_of, weights_to_try
from pareto.agents.learning import Networked, first_policies
from pareto.agents.ppo import PPOConfig
from pareto.agents.selecting import volume
from pareto.errors import ConfigError
from pareto.models.actors import agent_facts, load_actor
from pareto.models.actors.mlp import MLPActor
from tests.agents.small import cart, sea


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
    draw, d = np.random.default_rng(2), task.facts.observations.shape[0]
    last = (draw.normal(size=(d, 9)).astype(np.float32), np.zeros(9, np.float32))
    values = MLPActor([last], np.zeros(d, np.float32), np.ones(d, np.float32), "mode")
    return task, Composition(networked, actors_of(networked, policies, "mode"), values)


def test_what_is_stored_follows_the_best_values(composed, tmp_path):
    task, made = composed
    weights = np.array([0.5, 0.3, 0.2])
    made.actor(weights).save(tmp_path, agent_facts("composed", task.facts.observations, task.facts.actions))
    stored = load_actor(tmp_path)
    seen = np.random.default_rng(0).uniform(0, 1, (64, task.facts.observations.shape[0])).astype(np.float32)
    worth = made.values.outputs(seen).reshape(64, 3, 3) @ weights
    assert stored.chosen(seen).tolist() == worth.argmax(axis=1).tolist()
    assert len(set(stored.chosen(seen).tolist())) > 1  # else the test says nothing
    with task.open(4, max_episode_steps=15) as envs:
        observations = envs.reset([1, 2, 3, 4])
    assert stored.act(observations, np.random.default_rng(0)).shape == (4,)


def test_predictions_are_means_over_starts_of_the_best_value(composed):
    task, made = composed
    weights = np.array([[1.0, 0.0, 0.0], [0.2, 0.2, 0.6]])
    seeds = [rng.derive_seed("composed starts", 3, i) for i in range(STARTS)]
    with task.open(STARTS) as envs:
        values = made.values.outputs(envs.reset(seeds)).reshape(STARTS, 3, 3)
    for w, found in zip(weights, made.predicted(weights, seed=3)):
        best = (values @ w).argmax(axis=1)
        np.testing.assert_allclose(found, values[np.arange(STARTS), best].mean(axis=0), rtol=1e-5)


def test_networks_of_ones_own_are_refused():
    task = sea()
    networked = Networked.of(task, PPOConfig(hidden=(8,)))
    other = Networked(task, object())
    with pytest.raises(ConfigError, match="needs perceptrons"):
        actors_of(other, first_policies(networked, 1, 0), "mode")
