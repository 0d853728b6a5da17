"""State values of several policies in one network: each is its own policy's."""

import numpy as np
import pytest

from pareto.agents import state_values
from pareto.agents.state_values import fit_state_values
from pareto.agents.watching import Watched


def seen(n=400, k=2):
    """States in two dimensions; policy 0 is worth (10 x, 100), policy 1 (-10 y, 100 + 5 x)."""
    draw = np.random.default_rng(0)
    states = [draw.normal(size=(n, 2)).astype(np.float32) for _ in range(k)]
    truths = [true_values(s)[:, i] for i, s in enumerate(states)]
    return [Watched(states, truths, np.zeros((k, 1, 2)), 0)]


def true_values(states):
    x, y = states.T.astype(float)
    first = np.column_stack([10 * x, np.full(len(x), 100.0)])
    return np.stack([first, np.column_stack([-10 * y, 100 + 5 * x])], axis=1)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(state_values, "STEPS", 300)
    monkeypatch.setattr(state_values, "BATCH", 128)


def test_every_policy_has_its_own_values():
    values = fit_state_values(seen(), seed=0)
    fresh = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32)
    told, truth = values.outputs(fresh).reshape(200, 2, 2), true_values(fresh)
    errors = np.abs(told - truth).mean(axis=0)
    assert (errors < 1.0).all(), errors  # of deviations 10, 0, 10, 5


def test_sets_of_episodes_are_joined():
    half = [
        Watched([s[i] for s in w.states], [v[i] for v in w.worth], w.returns, 0)
        for w in seen()
        for i in (np.s_[:200], np.s_[200:])
    ]
    fresh = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    one, two = (fit_state_values(s, seed=0).outputs(fresh) for s in (seen(), half))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_the_same_seed_gives_the_same_values():
    fresh = np.zeros((1, 2), np.float32)
    first, again, other = (fit_state_values(seen(), seed=s).outputs(fresh) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
