"""The fruit tree against MO-Gymnasium's, and its front by trying every leaf."""

import itertools

import gymnasium as gym
import moocore
import numpy as np
import pytest

from pareto.errors import ConfigError
from pareto.rng import generator


@pytest.mark.parametrize("depth", [5, 6, 7])
def test_equals_the_library_step_for_step(depth, walk_together):
    n, steps = 64, 210
    ours = gym.make_vec("pareto/FruitTree-v0", num_envs=n, depth=depth)
    actions = generator("test", "fruit", depth).integers(2, size=(steps, n))
    ends = walk_together(ours, ("fruit-tree-v0", {"depth": depth}), actions)
    assert ends["terminated"] == n * (steps // depth)
    assert len(set(ends["rewards"])) == 2**depth  # every leaf was reached


@pytest.mark.parametrize("depth", [5, 6, 7])
def test_front_is_what_the_leaves_give(depth, library):
    ours = gym.make("pareto/FruitTree-v0", depth=depth).unwrapped
    theirs = library("fruit-tree-v0", depth=depth)
    gamma = 0.99
    returns = []
    for way in itertools.product((0, 1), repeat=depth):
        ours.reset(seed=0)
        theirs.reset(seed=0)
        played = [(ours.step(a)[1], theirs.step(a)[1]) for a in way]
        np.testing.assert_array_equal(*np.swapaxes(played, 0, 1))
        returns.append(sum(gamma**t * r.astype(float) for t, (r, _) in enumerate(played)))
    returns = np.array(returns)
    best = returns[moocore.is_nondominated(-returns)]
    front = ours.pareto_front(gamma)
    np.testing.assert_allclose(front, best[np.lexsort(best.T[::-1])], rtol=1e-6)
    assert len(front) == 2**depth  # every fruit is a point of the front


def test_front_has_the_known_hypervolume():
    env = gym.make("pareto/FruitTree-v0").unwrapped
    assert moocore.hypervolume(-env.pareto_front(0.99), ref=-env.ref_point) == pytest.approx(
        46034.802, abs=1e-2
    )
    assert moocore.hypervolume(-env.pareto_front(1.0), ref=-env.ref_point) == pytest.approx(
        58271.258, abs=1e-2
    )


def test_other_depths_are_refused():
    with pytest.raises(ConfigError, match=r"one of \(5, 6, 7\); got 4"):
        gym.make("pareto/FruitTree-v0", depth=4)
