"""The minecart against MO-Gymnasium's, under the same luck."""

import gymnasium as gym
import moocore
import numpy as np
import pytest

from envs.minecart import CAPACITY, MINES, YIELDS, Cart, CartDynamics
from envs.streams import Streams
from pareto.errors import ConfigError
from pareto.rng import generator

MINE, LEFT, RIGHT, ACCELERATE, BRAKE, NOTHING = range(6)
ZERO = 1800  # index of heading 0 (5 degrees) in the tables


def luck_of(counters):
    streams = Streams([0] * len(counters))
    streams.counters[:] = counters
    return streams.normals(8)


class Yield:
    """Stands in for one mine's distribution of one ore: what it was told, frame after frame."""

    def __init__(self, mean, std):
        self.mean, self.std, self.told = mean, std, []

    def rvs(self):
        return self.mean + self.std * self.told.pop(0)


def rig(std):
    def with_std(env):
        for mine, mean in zip(env.mines, YIELDS):
            mine.distributions = [Yield(mean[0], std), Yield(mean[1], std)]

        def tell(numbers):
            for mine in env.mines:
                for k in range(2):
                    mine.distributions[k].told = list(numbers[k::2])

        return tell

    return with_std


def trips(rng, steps):
    """One copy's actions: out to a mine, fill up, turn round, slide home; with slips and idling in between."""
    actions = []
    while len(actions) < steps:
        aim, coast = [([], 4), ([LEFT], 2), ([RIGHT], 2), ([LEFT], 3), ([RIGHT], 3)][int(rng.integers(5))]
        out = aim + [ACCELERATE] * 2 + [NOTHING] * coast + [BRAKE] + [MINE] * int(rng.integers(1, 5))
        home = [LEFT] * 4 + [ACCELERATE] * int(rng.integers(2, 4)) + [NOTHING] * int(rng.integers(5, 15))
        actions += out + home + rng.integers(0, 6, size=int(rng.integers(0, 3))).tolist()
    return actions[:steps]


@pytest.mark.parametrize(("name", "std"), [("", 0.05), ("Deterministic", 0.0)])
def test_equals_the_library_step_for_step_under_the_same_luck(name, std, walk_together):
    n, steps = 14, 1050
    ours = gym.make_vec(f"pareto/Minecart{name}-v0", num_envs=n)
    rng = generator("test", "minecart", name)
    leaning = rng.dirichlet([0.6, 0.6, 0.6, 1.0, 0.4, 0.4], size=n)
    actions = np.stack([rng.choice(6, size=steps, p=p) for p in leaning], axis=1)
    for copy in range(n // 2):
        actions[:, copy] = trips(rng, steps)
    actions[:, -1] = NOTHING  # one that never leaves, to meet the time limit
    theirs = "minecart-deterministic-v0" if name else "minecart-v0"
    # 1 float32 step at most: the ore in a cart is summed in another order
    ends = walk_together(ours, (theirs, {}), actions, rig=rig(std), luck_of=luck_of, atol=1e-7)
    assert ends["terminated"] > 100
    assert ends["truncated"] >= 1
    assert sum(ore_1 + ore_2 > 0 for ore_1, ore_2, _ in ends["rewards"]) > 20
    assert max(ore_1 + ore_2 for ore_1, ore_2, _ in ends["rewards"]) == pytest.approx(CAPACITY)


def test_any_single_step_equals_the_library_from_anywhere(library):
    """Walls, corners, crawling, the base's edge and full carts, which walks meet too seldom."""
    env = library("minecart-deterministic-v0").unwrapped
    rng = generator("test", "minecart", "anywhere")
    n = 4000
    position = rng.random((n, 2))
    position = np.where(rng.random((n, 2)) < 0.3, np.round(position), position)
    near_mine = rng.random(n) < 0.3
    position[near_mine] = (MINES[rng.integers(5, size=n)] + rng.uniform(-0.12, 0.12, (n, 2)))[near_mine]
    near_base = rng.random(n) < 0.2
    position[near_base] = rng.uniform(0, 0.3, (n, 2))[near_base]
    speed = rng.choice([0.0, 0.0005, 0.002, 0.01, 0.05, 0.1], size=n)
    heading, action = rng.integers(36, size=n), rng.integers(6, size=n)
    ore = rng.dirichlet([1, 1, 1], size=n)[:, :2] * CAPACITY
    departed = rng.random(n) < 0.5
    dynamics = CartDynamics(yield_std=0.0)
    start = Cart(np.ascontiguousarray(position.T).T, speed, heading + ZERO, ore, departed)
    after, reward, terminated = dynamics.step(start, action, Streams(range(n)))
    observation = dynamics.observe(after)
    for i in range(n):
        env.reset()
        cart = env.cart
        cart.pos, cart.speed, cart.angle = position[i].copy(), speed[i], 10 * int(heading[i]) + 5
        cart.content, cart.departed = ore[i].copy(), bool(departed[i])
        their_obs, their_reward, their_end, _, _ = env.step(int(action[i]))
        where = f"state {i}: {position[i]}, speed {speed[i]}, heading {heading[i]}, action {action[i]}"
        np.testing.assert_allclose(observation[i], their_obs, rtol=0, atol=1e-7, err_msg=where)
        np.testing.assert_allclose(reward[i], their_reward, rtol=0, atol=2e-7, err_msg=where)
        assert terminated[i] == their_end, where
    assert terminated.sum() > 100
    assert (after.ore.sum(axis=1) > ore.sum(axis=1) + 0.1).sum() > 20


def test_doing_nothing_has_the_known_hypervolume():
    """gamma 0.98, 0.02 fuel a step for ever: -1, so that the volume is 1 * 1 * 199."""
    env = gym.make("pareto/Minecart-v0")
    env.reset(seed=0)
    rewards, cut = [], False
    while not cut:
        _, reward, ended, cut, _ = env.step(NOTHING)
        assert not ended
        rewards.append(reward.astype(float))
    assert len(rewards) == 1000
    value = env.unwrapped.gamma ** np.arange(1000) @ np.array(rewards)
    assert moocore.hypervolume(-value[None], ref=-env.unwrapped.ref_point) == pytest.approx(199.0, abs=1e-5)


def test_yields_are_the_stated_normals_cut_at_zero():
    n = 20_000
    dynamics = CartDynamics(yield_std=0.05)
    at = np.tile(MINES[0], (n, 1))
    start = Cart(at, np.zeros(n), np.full(n, ZERO), np.zeros((n, 2)), np.ones(n, dtype=bool))
    after, _, _ = dynamics.step(start, np.full(n, MINE), Streams(range(n)))
    mean = after.ore.mean(axis=0) / 4
    # E max(N(0.2, 0.05), 0) = 0.2 (four standard deviations from zero); E max(N(0, 0.05), 0) = 0.05/sqrt(2 pi)
    expected = np.array([0.2, 0.05 / np.sqrt(2 * np.pi)])
    np.testing.assert_allclose(mean, expected, atol=4 * 0.05 / np.sqrt(4 * n))


def test_negative_noise_is_refused():
    with pytest.raises(ConfigError, match="yield_std must be >= 0"):
        gym.make("pareto/Minecart-v0", yield_std=-1.0)
