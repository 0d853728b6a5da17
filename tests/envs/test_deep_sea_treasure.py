"""Deep-sea treasure against MO-Gymnasium's, and its front against the closed form."""

import gymnasium as gym
import moocore
import numpy as np
import pytest

from envs.deep_sea_treasure import chart
from pareto.errors import ConfigError
from pareto.rng import generator

MAPS = {
    "convex": ("DeepSeaTreasure-v0", "deep-sea-treasure-v0"),
    "concave": ("DeepSeaTreasureConcave-v0", "deep-sea-treasure-concave-v0"),
    "mirrored": ("DeepSeaTreasureMirrored-v0", "deep-sea-treasure-mirrored-v0"),
}
DOWN, RIGHT = 1, 3


@pytest.mark.parametrize("name", MAPS)
def test_equals_the_library_step_for_step(name, walk_together):
    n, steps = 48, 600
    ours = gym.make_vec(f"pareto/{MAPS[name][0]}", num_envs=n)
    rng = generator("test", "dst", name)
    # each copy has leanings of its own, so that near and far treasures are found and some get lost until the limit
    leaning = rng.dirichlet([0.3, 0.8, 0.3, 1.2], size=n)
    actions = np.stack([rng.choice(4, size=steps, p=p) for p in leaning], axis=1)
    ends = walk_together(ours, (MAPS[name][1], {}), actions)
    assert ends["terminated"] > 1000
    assert ends["truncated"] > 5
    found = {round(treasure, 3) for treasure, _ in ends["rewards"]} - {0.0}
    assert len(found) >= 8, found


@pytest.mark.parametrize("name", MAPS)
def test_front_is_attained_by_replay_and_matches_the_closed_form(name, library):
    ours, theirs = gym.make(f"pareto/{MAPS[name][0]}"), library(MAPS[name][1])
    for gamma in (0.9, 0.99, 1.0):
        returns = []
        for column in range(10):  # the shortest way to each treasure: right, then down
            depth = int(np.flatnonzero(chart("convex")[0][:, column])[0])
            way = [RIGHT] * column + [DOWN] * depth
            for env in (ours, theirs):
                env.reset(seed=0)
                rewards = [env.step(a)[1] for a in way]
                discounted = np.sum([gamma**t * r.astype(float) for t, r in enumerate(rewards)], axis=0)
                returns.append(discounted)
        steps = np.array([1, 3, 5, 7, 8, 9, 13, 14, 17, 19])
        value = np.array([0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7])
        value = value if name == "convex" else np.array([1.0, 2, 3, 5, 8, 16, 24, 50, 74, 124])
        time = -steps if gamma == 1 else -(1 - gamma**steps) / (1 - gamma)
        closed = np.stack([gamma ** (steps - 1) * value, time], axis=1)
        np.testing.assert_allclose(returns, np.repeat(closed, 2, axis=0), rtol=1e-6)
        # at gamma 0.9 far treasures are worth less than near ones: the front is the non-dominated part
        best = closed[moocore.is_nondominated(-closed)]
        np.testing.assert_allclose(
            ours.unwrapped.pareto_front(gamma), best[np.argsort(best[:, 0])], rtol=1e-9
        )


@pytest.mark.parametrize(
    ("name", "published"), [("convex", 854.850), ("concave", 3688.377), ("mirrored", 3688.377)]
)
def test_front_has_the_known_hypervolume(name, published):
    env = gym.make(f"pareto/{MAPS[name][0]}").unwrapped
    front = env.pareto_front(env.gamma)
    assert moocore.hypervolume(-front, ref=-env.ref_point) == pytest.approx(published, abs=5e-4)


def test_rock_and_edges_leave_the_submarine_in_place():
    env = gym.make("pareto/DeepSeaTreasure-v0")
    env.reset(seed=0)
    for action in (0, 2):  # up and left of the corner
        assert env.step(action)[0].tolist() == [0, 0]
    for action in (3, 3, 1, 1):
        assert env.step(action)[2] is False
    assert env.step(2)[0].tolist() == [2, 1]  # the treasure of the second column
    env.reset(seed=0)
    for action in (3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1):
        obs, *_ = env.step(action)
    assert obs.tolist() == [5, 6]
    assert env.step(2)[0].tolist() == [5, 6]  # rock below the sixth treasure


def test_unknown_map_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'concave'"):
        gym.make("pareto/DeepSeaTreasure-v0", chart_name="concav")
