"""The two faces of one dynamics: a plain environment (one copy) and a vector environment (many, reset as they end)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pareto.errors import ConfigError, ShapeError
from pareto.objectives import Objectives

from .dynamics import Dynamics
from .streams import Streams

TWINS: dict[str, str] = {}
"""Our id -> the MO-Gymnasium id whose dynamics it is proven equal to, step for step."""


def register(
    name: str, entry_point: str, *, max_episode_steps: int | None, twin: str | None = None, **kwargs: Any
) -> None:
    """File an environment with gymnasium as ``pareto/<name>``; filing it again changes nothing.

    Args:
        name: ``"DeepSeaTreasure-v0"``.
        entry_point: ``f"{__name__}:Class"`` of the plain environment; ``ClassVector`` beside it is the batched one.
        max_episode_steps: steps after which an episode is truncated, or None.
        twin: id of the same environment in MO-Gymnasium, if there is one.
        kwargs: arguments of the class.
    """
    env_id = f"pareto/{name}"
    if twin is not None:
        TWINS[env_id] = twin
    if env_id not in gym.registry:
        gym.register(
            env_id,
            entry_point=entry_point,
            vector_entry_point=f"{entry_point}Vector",
            disable_env_checker=True,  # the passive checker insists on scalar rewards
            max_episode_steps=max_episode_steps,
            kwargs=kwargs,
        )


class _Described:
    """What both faces tell about the rewards."""

    dynamics_class: ClassVar[type[Dynamics[Any]]]
    dynamics: Dynamics[Any]

    @property
    def objectives(self) -> Objectives:
        """The m objectives, in the order of the reward vector, all maximised."""
        return self.dynamics.objectives

    @property
    def reward_space(self) -> spaces.Box:
        """Box [m] that every reward vector lies in, of the rewards' dtype."""
        return self.dynamics.reward_space

    @property
    def reward_dim(self) -> int:
        """The number of objectives m."""
        return len(self.dynamics.objectives)

    @property
    def ref_point(self) -> np.ndarray:
        """[m] the reference point under which the literature reports hypervolume here."""
        return np.array(self.dynamics.ref_point, dtype=np.float64)

    @property
    def gamma(self) -> float:
        """The discount that goes with `ref_point`."""
        return self.dynamics.gamma

    def pareto_front(self, gamma: float) -> np.ndarray | None:
        """Exact front [k, m] of discounted returns over deterministic policies, or None where it is not known."""
        return self.dynamics.pareto_front(gamma)


class SingleEnv(_Described, gym.Env[np.ndarray, Any]):
    """One copy of a dynamics as a plain environment; `gymnasium.make` adds the time limit.

    Args:
        render_mode: None, or "rgb_array" where the class's metadata has it.
        kwargs: arguments of the dynamics.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # gymnasium declares it so

    def __init__(self, *, render_mode: str | None = None, **kwargs: Any) -> None:
        known = (None, *self.metadata["render_modes"])
        if render_mode not in known:
            raise ConfigError(f"render_mode of {type(self).__name__} must be in {known}; got {render_mode!r}")
        self.render_mode = render_mode
        self.dynamics = self.dynamics_class(**kwargs)
        self.metadata = {**self.metadata, "objectives": self.dynamics.objectives.to_json()}
        self.observation_space = self.dynamics.observation_space
        self.action_space = self.dynamics.action_space
        self._one_action = batch_space(self.action_space, 1)
        self._streams: Streams | None = None
        self._state: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode; a seed restarts the random stream, no seed lets it run on."""
        super().reset(seed=seed)
        if seed is not None or self._streams is None:
            self._streams = Streams([self.np_random_seed])
        self._state = self.dynamics.start(self._streams)
        return self.dynamics.observe(self._state)[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Take one action; the reward is a vector [m]."""
        if self._streams is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        actions = _checked(np.asarray(action)[None], self._one_action, self.action_space)
        self._state, rewards, terminated = self.dynamics.step(self._state, actions, self._streams)
        return self.dynamics.observe(self._state)[0], rewards[0], bool(terminated[0]), False, {}

    def render(self) -> Any:
        """Draw the present state, [height, width, 3] uint8, in render mode "rgb_array"."""
        return None if self.render_mode is None or self._state is None else self.dynamics.picture(self._state)


class BatchedEnv(_Described, VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many copies of a dynamics, stepped by array operations; a copy that ends starts anew in the same step.

    Autoreset mode is SAME_STEP: the observation returned for a copy that has just ended is the first one of its next
    episode. ``info["final_obs"]`` ([n, ...], dense) then holds every copy's true next observation before resetting,
    ``info["_final_obs"]`` [n] bool says which copies ended; both are absent from steps in which none did. As with
    gymnasium's `TimeLimit`, the last allowed step counts as truncated even when it also terminates.

    Args:
        num_envs: n copies.
        max_episode_steps: truncate after so many steps, or None.
        render_mode: None; there is nothing to draw.
        kwargs: arguments of the dynamics.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        if (
            num_envs < 1
            or (max_episode_steps is not None and max_episode_steps < 1)
            or render_mode is not None
        ):
            raise ConfigError(
                f"{type(self).__name__} needs num_envs >= 1, max_episode_steps >= 1 or None and render_mode None; "
                f"got {num_envs!r}, {max_episode_steps!r}, {render_mode!r}"
            )
        self.dynamics = self.dynamics_class(**kwargs)
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.metadata = {
            "render_modes": [],
            "autoreset_mode": AutoresetMode.SAME_STEP,
            "objectives": self.dynamics.objectives.to_json(),
        }
        self.single_observation_space = self.dynamics.observation_space
        self.single_action_space = self.dynamics.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._streams: Streams | None = None
        self._state: Any = None
        self._lengths = np.zeros(num_envs, dtype=np.int64)

    def reset(  # type: ignore[override]
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every copy, or only in those of ``options["reset_mask"]`` ([n] bool).

        Args:
            seed: one seed per copy, or one number s for the seeds s, s+1, ...; None lets the streams run on.
            options: see above; the other copies of a masked reset keep their state and streams.

        Returns:
            Observations [n, ...] and an empty info.
        """
        mask = (options or {}).get("reset_mask")
        if mask is not None and self._streams is not None:
            if seed is not None:
                raise ConfigError("a masked reset lets the streams run on; expected seed None, got a seed")
            return self._restart(np.flatnonzero(np.asarray(mask)), self.dynamics.observe(self._state)), {}
        if seed is not None or self._streams is None:
            self._streams = Streams(self._seeds(seed))
        self._state = self.dynamics.start(self._streams)
        self._lengths[:] = 0
        return self.dynamics.observe(self._state), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one action in every copy.

        Args:
            actions: [n, ...] in the action space.

        Returns:
            Observations [n, ...], rewards [n, m], terminated [n] bool, truncated [n] bool, info.
        """
        if self._streams is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        actions = _checked(actions, self.action_space, self.single_action_space)
        self._state, rewards, terminated = self.dynamics.step(self._state, actions, self._streams)
        observations = self.dynamics.observe(self._state)
        self._lengths += 1
        if self.max_episode_steps is None:
            truncated, ended = np.zeros(self.num_envs, dtype=bool), terminated
        else:
            truncated = self._lengths >= self.max_episode_steps
            ended = terminated | truncated
        if not ended.any():
            return observations, rewards, terminated, truncated, {}
        info = {"final_obs": observations, "_final_obs": ended.copy()}
        observations = self._restart(np.flatnonzero(ended), observations.copy())
        return observations, rewards, terminated, truncated, info

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that determines what comes next, as arrays, in the middle of episodes."""
        if self._streams is None:
            raise gym.error.ResetNeeded("call reset() before state_dict()")
        state = {f"state.{k}": v.copy() for k, v in self._state._asdict().items()}
        return {"counters": self._streams.counters.copy(), "lengths": self._lengths.copy(), **state}

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """Go on from a `state_dict` of the same environment; returns the observations [n, ...] there."""
        if len(saved["counters"]) != self.num_envs:
            raise ShapeError(f"expected the state of {self.num_envs} copies; got {len(saved['counters'])}")
        self.reset(seed=0)
        assert self._streams is not None
        self._streams.counters[:] = saved["counters"]
        self._lengths[:] = saved["lengths"]
        self._state = type(self._state)(*(saved[f"state.{k}"].copy() for k in self._state._fields))
        return self.dynamics.observe(self._state)

    def _restart(self, rows: np.ndarray, observations: np.ndarray) -> np.ndarray:
        assert self._streams is not None
        fresh = self.dynamics.start(self._streams.at(rows))
        for old, new in zip(self._state, fresh):
            old[rows] = new
        self._lengths[rows] = 0
        observations[rows] = self.dynamics.observe(fresh)
        return observations

    def _seeds(self, seed: int | Sequence[int] | None) -> list[int]:
        if seed is None or isinstance(seed, int | np.integer):
            super().reset(seed=None if seed is None else int(seed))
            first = self.np_random_seed
            assert first is not None
            return [first + i for i in range(self.num_envs)]
        seeds = [int(s) for s in seed]
        if len(seeds) != self.num_envs or min(seeds) < 0:
            raise ShapeError(
                f"expected {self.num_envs} seeds >= 0, one per copy; got {len(seeds)}: {seeds[:4]}"
            )
        return seeds


def _checked(actions: np.ndarray, batch: spaces.Space[Any], single: spaces.Space[Any]) -> np.ndarray:
    """Actions [n, ...] as an array, once they are known to be in the space; any dtype that can say so will do.

    Raises:
        ShapeError: not one action per copy.
        gymnasium.error.InvalidAction: outside the space.
    """
    actions = np.asarray(actions)
    if actions.shape != batch.shape:
        raise ShapeError(f"expected actions of shape {batch.shape}, one per copy; got {actions.shape}")
    if isinstance(single, spaces.Discrete):
        inside = (
            actions.dtype.kind in "iu"
            and ((actions >= single.start) & (actions < single.start + single.n)).all()
        )
    elif isinstance(single, spaces.Box):
        inside = ((actions >= single.low) & (actions <= single.high)).all()
    else:
        inside = batch.contains(actions)
    if not inside:
        raise gym.error.InvalidAction(
            f"expected actions in {single}; got one outside, or of dtype {actions.dtype}"
        )
    return actions
