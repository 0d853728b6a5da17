"""The library's learners can be called and are scored like ours; runs where morl-baselines is installed."""

import numpy as np
import pytest

from pareto.agents import library
from pareto.agents.library import LibraryPolicy, Order, score_library, train_library
from pareto.errors import MissingPackageError


def order(steps=300):
    gym = pytest.importorskip("mo_gymnasium", reason="makes MO-Gymnasium's environments")
    make = lambda: gym.make("deep-sea-treasure-v0")  # noqa: E731
    return Order(make, np.array([0.0, -50.0]), 0.99, steps, seed=0, n_policies=3)


def test_returns_by_hand():
    """Straight down from the first cell is the first treasure: 0.7 after one step on the convex map, for -1 of time."""
    told = []
    down = LibraryPolicy(lambda: told.append("begin"), lambda seen: 1, told.append)
    found = score_library([down], order(), [0, 1])
    np.testing.assert_allclose(found, [[[0.7, -1.0]] * 2], rtol=1e-6)
    assert [t if isinstance(t, str) else "reward" for t in told] == ["begin", "reward"] * 2


@pytest.mark.parametrize("name", ["pcn", "envelope_library", "gpi_ls", "morl_d"])
def test_a_learner_learns_and_is_scored(name):
    pytest.importorskip("morl_baselines", reason="calls morl-baselines, which is not installed")
    asked = order()
    policies = train_library(name, asked)
    assert 1 <= len(policies) <= 6
    found = score_library(policies[:1], asked, [0])
    assert found.shape == (1, 1, 2)
    assert np.isfinite(found).all()


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'pareto-align\[baselines\]'"):
        train_library("pcn", order())
