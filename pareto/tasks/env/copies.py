"""Copies of environments in this process: one after the other, as arrays at once, or several groups side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from pareto.errors import ConfigError, ShapeError
from pareto.models.spaces import Actions, Observations
from pareto.objectives import Objectives
from pareto.tasks.env.rewards import as_vector, check_finite
from pareto.tasks.env.vectors import Step, VectorEnvs


class InTurn(VectorEnvs):
    """Plain environments stepped one after the other.

    Args:
        envs: E separate instances of the same environment.
        objectives: of its rewards.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], objectives: Objectives) -> None:
        self.envs, self.copies, self.objectives = list(envs), len(envs), objectives
        self.observations = Observations(envs[0].observation_space)
        self.actions = Actions(envs[0].action_space)
        if len({id(env.unwrapped) for env in envs}) < len(envs):
            raise ConfigError(
                "a factory must make a new environment in every call; it gave the same one twice"
            )
        self._seen = np.zeros((self.copies, *self.observations.shape), self.observations.dtype)
        self._resting = np.zeros(self.copies, dtype=bool)
        self._pending: np.ndarray | None = None

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `VectorEnvs`."""
        self._resting[:] = False
        for i, seed in enumerate(_seeds(seeds, self.copies)):
            self._seen[i] = self.observations.encode_one(self.envs[i].reset(seed=seed)[0])
        return self._seen.copy()

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        for i in np.flatnonzero(mask):
            self._seen[i] = self.observations.encode_one(self.envs[i].reset()[0])
        return self._seen.copy()

    def begin_step(self, actions: np.ndarray) -> None:
        """See `VectorEnvs`."""
        self._pending = self.actions.decode(actions, self.copies)

    def end_step(self) -> Step:
        """See `VectorEnvs`."""
        assert self._pending is not None, "end_step follows begin_step"
        rewards = np.zeros((self.copies, len(self.objectives)))
        terminated, truncated = np.zeros((2, self.copies), dtype=bool)
        for i in np.flatnonzero(~self._resting):
            action = self._pending[i]
            # many environments index with what they get
            plain = action.item() if np.ndim(action) == 0 else action
            observation, reward, terminated[i], truncated[i], _ = self.envs[i].step(plain)
            self._seen[i] = self.observations.encode_one(observation)
            rewards[i] = as_vector(reward, self.objectives)
        self._pending = None
        final, ended = self._seen.copy(), terminated | truncated
        seen = self.restart(ended) if ended.any() else final
        return Step(seen, check_finite(rewards) * self.objectives.signs, terminated, truncated, final)

    def rest(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        self._resting = np.array(mask, dtype=bool)
        return self._resting

    def picture(self) -> np.ndarray:
        """See `VectorEnvs`."""
        return _drawn(self.envs[0])

    def close(self) -> None:
        """See `VectorEnvs`."""
        for env in self.envs:
            env.close()


class Batched(VectorEnvs):
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
        self.env, self.copies, self.objectives = env, env.num_envs, objectives
        self.observations = Observations(env.single_observation_space)
        self.actions = Actions(env.single_action_space)
        self._resets_itself = mode == AutoresetMode.SAME_STEP
        self._pending: np.ndarray | None = None

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `VectorEnvs`."""
        return self._encoded(self.env.reset(seed=_seeds(seeds, self.copies))[0])  # type: ignore[arg-type]  # as its docs say

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        mask = np.array(mask, dtype=bool)
        return self._encoded(self.env.reset(options={"reset_mask": mask})[0])

    def begin_step(self, actions: np.ndarray) -> None:
        """See `VectorEnvs`."""
        self._pending = self.actions.decode(actions, self.copies)

    def end_step(self) -> Step:
        """See `VectorEnvs`."""
        observations, rewards, terminated, truncated, info = self.env.step(self._pending)
        self._pending = None
        rewards = check_finite(self._vectors(rewards)) * self.objectives.signs
        terminated, truncated = np.array(terminated, dtype=bool), np.array(truncated, dtype=bool)
        seen = self._encoded(observations)
        ended = terminated | truncated
        if not ended.any():
            return Step(seen, rewards, terminated, truncated, seen)
        if not self._resets_itself:
            return Step(self.restart(ended), rewards, terminated, truncated, seen)
        return Step(seen, rewards, terminated, truncated, self._final(seen, info, ended))

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """See `VectorEnvs`; vector environments that can be stored have the methods of the same names."""
        stored = getattr(self.env, "state_dict", None)
        return None if stored is None else stored()

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """See `VectorEnvs`."""
        load = getattr(self.env, "load_state_dict", None)
        return super().load_state_dict(saved) if load is None else self._encoded(load(saved))

    def picture(self) -> np.ndarray:
        """See `VectorEnvs`."""
        return _drawn(self.env)

    def close(self) -> None:
        """See `VectorEnvs`."""
        if not self.env.closed:
            self.env.close()

    def _encoded(self, observations: Any) -> np.ndarray:
        return self.observations.encode(observations, self.copies)

    def _vectors(self, rewards: Any) -> np.ndarray:
        if isinstance(rewards, dict):
            rewards = np.stack([rewards[name] for name in self.objectives.names], axis=1)
        rewards = np.asarray(rewards, dtype=np.float64)
        if rewards.shape != (self.copies, len(self.objectives)):
            raise ShapeError(
                f"expected rewards of shape {(self.copies, len(self.objectives))}, copies by objectives; "
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
        if isinstance(stated, np.ndarray) and stated.dtype != object:
            final = seen.copy()
            final[ended] = self._encoded(stated)[ended]
            return final
        final = seen.copy()
        for i in np.flatnonzero(ended):
            final[i] = self.observations.encode_one(stated[i])
        return final


class SideBySide(VectorEnvs):
    """Several groups of copies as one; groups in other processes work at the same time.

    Args:
        parts: groups of the same environment, in order.
    """

    def __init__(self, parts: Sequence[VectorEnvs]) -> None:
        first = parts[0]
        self.parts, self.copies = list(parts), sum(part.copies for part in parts)
        self.objectives, self.observations, self.actions = first.objectives, first.observations, first.actions
        self._cuts = np.cumsum([part.copies for part in parts])[:-1]

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `VectorEnvs`."""
        split = np.split(np.array(_seeds(seeds, self.copies), dtype=object), self._cuts)
        return np.concatenate([part.reset(list(some)) for part, some in zip(self.parts, split)])

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        return np.concatenate(
            [part.restart(some) for part, some in zip(self.parts, np.split(mask, self._cuts))]
        )

    def begin_step(self, actions: np.ndarray) -> None:
        """See `VectorEnvs`."""
        for part, some in zip(self.parts, np.split(np.asarray(actions), self._cuts)):
            part.begin_step(some)

    def end_step(self) -> Step:
        """See `VectorEnvs`."""
        return Step(*(np.concatenate(arrays) for arrays in zip(*(part.end_step() for part in self.parts))))

    def rest(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        return np.concatenate([part.rest(some) for part, some in zip(self.parts, np.split(mask, self._cuts))])

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """See `VectorEnvs`."""
        states = [part.state_dict() for part in self.parts]
        if any(state is None for state in states):
            return None
        return {f"{i}.{k}": v for i, state in enumerate(states) for k, v in (state or {}).items()}

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """See `VectorEnvs`."""
        split: list[dict[str, np.ndarray]] = [{} for _ in self.parts]
        for key, value in saved.items():
            i, _, name = key.partition(".")
            split[int(i)][name] = value
        return np.concatenate([part.load_state_dict(some) for part, some in zip(self.parts, split)])

    def picture(self) -> np.ndarray:
        """See `VectorEnvs`."""
        return self.parts[0].picture()

    def close(self) -> None:
        """See `VectorEnvs`."""
        for part in self.parts:
            part.close()


def _seeds(seeds: Sequence[int], copies: int) -> list[int]:
    if len(seeds) != copies or min(seeds) < 0:
        raise ShapeError(f"expected {copies} seeds >= 0, one per copy; got {len(seeds)}: {list(seeds)[:4]}")
    return [int(seed) for seed in seeds]


def _drawn(env: Any) -> np.ndarray:
    frame = env.render()
    if frame is None:
        raise ConfigError(
            f"{env} drew nothing; it must be opened with render=True and know the render mode 'rgb_array'"
        )
    return np.asarray(frame, dtype=np.uint8)
