"""Methods on an environment that a function makes."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from pareto.agents import CMORL, ScalarizedPPO
from pareto.agents.ppo import PPOConfig
from pareto.errors import UsageError

SMALL = PPOConfig(envs=4, steps=16, epochs=2, minibatch=32, hidden=(8,), lr=1e-2)


class Bakery(gym.Env):
    """One step: push bread (money 1) or cake (joy 1) or a bit of both (0.6 each); a mapping as reward."""

    observation_space = spaces.Dict(day=spaces.Discrete(2), hunger=spaces.Box(0, 1, (1,)))
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def step(self, action):
        money, joy = [(1.0, 0.0), (0.0, 1.0), (0.6, 0.6)][action]
        return self.seen(), {"money": money, "joy": joy}, True, False, {}

    def seen(self):
        return {"day": int(self.np_random.integers(2)), "hunger": np.zeros(1, dtype=np.float32)}


def test_policies_are_learned_scored_stored_and_act(tmp_path):
    heard = []
    run = ScalarizedPPO(total_steps=6000, ppo=SMALL).fit(
        Bakery, gamma=1.0, weights=[{"money": 1.0, "joy": 0.0}, {"money": 0.5, "joy": 0.5}], out=tmp_path / "run",
        ref_point={"money": 0.0, "joy": 0.0}, task={"heldout_episodes": 4}, callbacks=[heard.append],
    )  # fmt: skip
    np.testing.assert_allclose(run.values, [[1, 0], [0.6, 0.6]])
    assert run.hypervolume() == pytest.approx(0.36)
    policy = run.steer({"money": 1.0, "joy": 0.0})
    assert policy.act({"day": 1, "hunger": np.zeros(1, dtype=np.float32)}) == 0
    assert heard[-1]["env_steps"] == run.content["cost"]["env_steps"]


def test_cmorl_too(tmp_path):
    run = CMORL(total_steps=9000, initial_steps=4000, ppo=SMALL, round_ppo=SMALL, episodes=4, window=16).fit(
        Bakery, gamma=1.0, n_weights=3, out=tmp_path / "run", ref_point={"money": -1.0, "joy": -1.0}
    )
    assert run.hypervolume() >= 3.0  # the ends alone: 2 x 1 + 1 x 2 - 1
    assert run.steer({"money": 0.9, "joy": 0.1}).act({"day": 0, "hunger": np.zeros(1, dtype=np.float32)}) == 0


def test_what_is_no_function_is_refused():
    with pytest.raises(UsageError, match="expected a function that makes an environment"):
        CMORL().fit(Bakery())
