"""Small environments with vector rewards whose every number is known."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Corridor(gym.Env):
    """Walk a line from 0: action 1 goes on, 0 stays; arriving at `length` ends the episode. Counts its own seeds.

    Observation [position, lucky number of the episode]; reward [moved, -1].
    """

    def __init__(self, length=3, scale=1.0):
        self.length, self.scale = length, scale
        self.observation_space = spaces.Box(0, 2**20, (2,), dtype=np.float32)
        self.action_space = spaces.Discrete(2)
        self.reward_space = spaces.Box(-np.inf, np.inf, (2,))
        self.seeds = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.position, self.luck = 0, int(self.np_random.integers(1000))
        return self.seen(), {}

    def step(self, action):
        self.position += int(action)
        return self.seen(), self.reward(action), self.position >= self.length, False, {}

    def seen(self):
        return np.array([self.position, self.luck], dtype=np.float32)

    def reward(self, action):
        return np.array([self.scale * int(action), -1.0])


class Named(Corridor):
    """Rewards as a mapping, observations as one, with a picture in it; it does not say what its rewards are."""

    def __init__(self):
        super().__init__()
        del self.reward_space
        self.observation_space = spaces.Dict(
            place=spaces.Discrete(4),
            eye=spaces.Box(0, 255, (1, 2), dtype=np.uint8),
            luck=spaces.Box(0, 1e4, (1,)),
        )

    def seen(self):
        return {
            "place": np.int64(self.position),
            "eye": np.array([[0, 51 * self.position]], dtype=np.uint8),
            "luck": np.array([self.luck], dtype=np.float32),
        }

    def reward(self, action):
        return {"moved": float(action), "cost": 1.0}


class Moody(Corridor):
    """Its second reward is a scalar."""

    def reward(self, action):
        return super().reward(action) if self.position < 2 else -1.0


class Broken(Corridor):
    """Its second step raises what no other process knows."""

    def reward(self, action):
        class Odd(Exception):
            pass

        if self.position == 2:
            raise Odd("out of paint")
        return super().reward(action)


def register_envs():
    for name in ("Corridor", "Named"):
        if f"{name}-v0" not in gym.registry:
            gym.register(
                f"{name}-v0", entry_point=globals()[name], max_episode_steps=5, disable_env_checker=True
            )
