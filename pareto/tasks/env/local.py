"""Copies of environments in this process: plain ones one after the other, vector ones as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from pareto.errors import ConfigError, ShapeError
from pareto.objectives import Objectives
from pareto.tasks.env.copies import Copies, Facts, Moved
from pareto.tasks.env.rewards import as_vector, attribute, check_finite
from pareto.tasks.env.spaces import Actions, Observations


class InTurn(Copies):
    """Plain environments stepped one after the other.

    Args:
        envs: E separate instances of the same environment.
        objectives: of its rewards.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], objectives: Objectives) -> None:
        if len({id(env.unwrapped) for env in envs}) < len(envs):
            raise ConfigError(
                "a factory must make a new environment in every call; it gave the same one twice"
            )
        first = envs[0]
        super().__init__(len(envs), _facts(first, first.observation_space, first.action_space, objectives))
        self.envs = list(envs)
        encoded = self.facts.observations
        self._seen = np.zeros((self.num_envs, *encoded.shape), encoded.dtype)
        self._pending: np.ndarray | None = None

    def start(self, seeds: Sequence[int]) -> np.ndarray:
        """See `Copies`."""
        for i, seed in enumerate(seeds):
            self._seen[i] = self.facts.observations.encode_one(self.envs[i].reset(seed=seed)[0])
        return self._seen.copy()

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `Copies`."""
        for i in np.flatnonzero(mask):
            self._seen[i] = self.facts.observations.encode_one(self.envs[i].reset()[0])
        return self._seen.copy()

    def begin_step(self, actions: np.ndarray) -> None:
        """See `Copies`."""
        self._pending = self.facts.actions.decode(actions, self.num_envs)

    def end_step(self) -> Moved:
        """See `Copies`."""
        assert self._pending is not None, "end_step follows begin_step"
        rewards = np.empty((self.num_envs, len(self.objectives)))
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        for i, (env, action) in enumerate(zip(self.envs, self._pending)):
            plain = (
                action.item() if np.ndim(action) == 0 else action
            )  # many environments index with what they get
            observation, reward, terminated[i], truncated[i], _ = env.step(plain)
            self._seen[i] = self.facts.observations.encode_one(observation)
            rewards[i] = as_vector(reward, self.objectives)
        self._pending = None
        final, ended = self._seen.copy(), terminated | truncated
        seen = self.restart(ended) if ended.any() else final
        return Moved(seen, check_finite(rewards), terminated, truncated, final)

    def pareto_front(self, gamma: float) -> np.ndarray | None:
        """See `Copies`."""
        return _front(self.envs[0], gamma)

    def picture(self) -> np.ndarray:
        """See `Copies`."""
        return _drawn(self.envs[0])

    def close_extras(self, **_: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()


class Batched(Copies):
    """A gymnasium vector environment whose rewards are [E, m], or a mapping objective -> [E].

    Args:
        env: its autoreset mode must be SAME_STEP or DISABLED: under NEXT_STEP the step after an end ignores its action.
        objectives: of its rewards.

    Raises:
        ConfigError: another autoreset mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], objectives: Objectives) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            raise ConfigError(
                f"a vector environment must reset in the same step, or not by itself; {type(env).__name__} has "
                f"autoreset_mode {mode}; make it with autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP, or hand over "
                "a function that makes one plain environment"
            )
        space, actions = env.single_observation_space, env.single_action_space
        super().__init__(env.num_envs, _facts(env, space, actions, objectives))
        self.env = env
        self._resets_itself = mode == AutoresetMode.SAME_STEP
        self._pending: np.ndarray | None = None

    def start(self, seeds: Sequence[int]) -> np.ndarray:
        """See `Copies`."""
        return self._encoded(self.env.reset(seed=list(seeds))[0])  # type: ignore[arg-type]  # as its docs say

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `Copies`."""
        return self._encoded(self.env.reset(options={"reset_mask": mask})[0])

    def begin_step(self, actions: np.ndarray) -> None:
        """See `Copies`."""
        self._pending = self.facts.actions.decode(actions, self.num_envs)

    def end_step(self) -> Moved:
        """See `Copies`."""
        observations, rewards, terminated, truncated, info = self.env.step(self._pending)
        self._pending = None
        rewards = check_finite(self._vectors(rewards))
        terminated, truncated = np.array(terminated, dtype=bool), np.array(truncated, dtype=bool)
        seen = self._encoded(observations)
        ended = terminated | truncated
        if not ended.any():
            return Moved(seen, rewards, terminated, truncated, seen)
        if not self._resets_itself:
            return Moved(self.restart(ended), rewards, terminated, truncated, seen)
        return Moved(seen, rewards, terminated, truncated, self._final(seen, info, ended))

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """See `Copies`; vector environments that can be stored have the methods of the same names."""
        stored = getattr(self.env, "state_dict", None)
        return None if stored is None else stored()

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """See `Copies`."""
        load = getattr(self.env, "load_state_dict", None)
        self._begun = True
        return super().load_state_dict(saved) if load is None else self._encoded(load(saved))

    def pareto_front(self, gamma: float) -> np.ndarray | None:
        """See `Copies`."""
        return _front(self.env, gamma)

    def picture(self) -> np.ndarray:
        """See `Copies`."""
        return _drawn(self.env)

    def close_extras(self, **_: Any) -> None:
        """Close the vector environment."""
        self.env.close()

    def _encoded(self, observations: Any) -> np.ndarray:
        return self.facts.observations.encode(observations, self.num_envs)

    def _vectors(self, rewards: Any) -> np.ndarray:
        if isinstance(rewards, dict):
            rewards = np.stack([rewards[name] for name in self.objectives.names], axis=1)
        rewards = np.asarray(rewards, dtype=np.float64)
        if rewards.shape != (self.num_envs, len(self.objectives)):
            raise ShapeError(
                f"expected rewards of shape {(self.num_envs, len(self.objectives))}, copies by objectives; "
                f"got {rewards.shape} from {type(self.env).__name__}"
            )
        return rewards

    def _final(self, seen: np.ndarray, info: dict[str, Any], ended: np.ndarray) -> np.ndarray:
        stated = info.get("final_obs")
        if stated is None:
            raise ConfigError(
                f"{type(self.env).__name__} must tell the last observations of ended episodes in info['final_obs']; "
                "it does not"
            )
        final = seen.copy()
        if isinstance(stated, np.ndarray) and stated.dtype != object:
            final[ended] = self._encoded(stated)[ended]
        else:
            for i in np.flatnonzero(ended):
                final[i] = self.facts.observations.encode_one(stated[i])
        return final


def _facts(env: Any, observations: Any, actions: Any, objectives: Objectives) -> Facts:
    point = attribute(env, "ref_point")
    gamma = attribute(env, "gamma")
    limit = env.spec.max_episode_steps if env.spec is not None else attribute(env, "max_episode_steps")
    return Facts(
        objectives,
        Observations(observations),
        Actions(actions),
        gamma if isinstance(gamma, float) else None,
        None if point is None else tuple(float(x) for x in np.asarray(point)),
        limit,
    )


def _front(env: Any, gamma: float) -> np.ndarray | None:
    find = attribute(env, "pareto_front")
    found = None if find is None else find(gamma)
    return None if found is None or len(found) == 0 else np.asarray(found, dtype=np.float64)


def _drawn(env: Any) -> np.ndarray:
    frame = env.render()
    if frame is None:
        raise ConfigError(
            f"{env} drew nothing; it must be opened with render=True and know the mode 'rgb_array'"
        )
    return np.asarray(frame, dtype=np.uint8)
