"""The smallest problem with a front: one step, three ways, the middle one best for balanced weights."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

WAYS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]])
"""Best for w0 > 0.6 (w0 > 0.6 w0 + 0.6 w1 = 0.6), for w0 < 0.4, and in between."""


class Fork(gym.Env):
    """One decision, then the episode is over."""

    observation_space = spaces.Box(0, 1, (1,), dtype=np.float32)
    action_space = spaces.Discrete(3)
    reward_space = spaces.Box(0, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, dtype=np.float32), {}

    def step(self, action):
        return np.ones(1, dtype=np.float32), WAYS[action], True, False, {}


def register_envs():
    if "Fork-v0" not in gym.registry:
        gym.register("Fork-v0", entry_point=Fork, max_episode_steps=2, disable_env_checker=True)
