"""Which objectives an environment has, and its rewards as vectors of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pareto.errors import ConfigError, NumericsError, ShapeError
from pareto.objectives import Objective, Objectives

LIBRARY_NAMES = {
    "mo-lunar-lander": "landed shaping main_fuel side_fuel",
    "mo-hopper-2obj": "speed height",
    "mo-hopper": "speed height control",
    "mo-halfcheetah": "speed control",
    "mo-walker2d": "speed control",
    "mo-swimmer": "speed control",
    "mo-humanoid": "speed control",
    "mo-ant-2obj": "speed_x speed_y",
    "mo-ant": "speed_x speed_y control",
    "mo-reacher": "target_1 target_2 target_3 target_4",
    "minecart": "ore1 ore2 fuel",
    "deep-sea-treasure": "treasure time",
    "resource-gathering": "killed gold gem",
}
"""What the columns of MO-Gymnasium's rewards are (its documentation); the library itself gives them no names."""


def objectives_of(env: Any, given: Objectives | Sequence[Objective | str] | None = None) -> Objectives:
    """The objectives of an environment, plain or vector.

    What the caller gives comes first; then `metadata["objectives"]` (names, or rows of name, direction, unit), then
    `reward_space` (Dict: its keys; Box [m]) or `reward_dim`, with MO-Gymnasium's names where its id is known. What says
    nothing of the kind is asked for one random step.

    Raises:
        ConfigError: fewer than two objectives, or a given list that does not fit the rewards.
        ShapeError: the rewards are scalars or of no fixed shape.
    """
    stated = _stated(env)
    if given is not None:
        given = Objectives(Objectives.parse(o)[0] if isinstance(o, str) else o for o in given)
        if stated is not None and len(given) != len(stated):
            raise ConfigError(
                f"{len(given)} objectives were named ({', '.join(given.names)}); the environment's rewards have "
                f"{len(stated)} ({', '.join(stated.names)}); name each of them"
            )
        return given
    if stated is None:
        stated = _tried(env)
    if len(stated) < 2:
        raise ConfigError(f"expected rewards of at least 2 objectives; {_label(env)} has {len(stated)}")
    return stated


def as_vector(reward: Any, objectives: Objectives) -> np.ndarray:
    """[m] float64 of a reward in the environment's own directions.

    Args:
        reward: [m] numbers, or a mapping objective -> number.
        objectives: the m objectives.

    Raises:
        ShapeError: a scalar, another length, or a mapping that lacks an objective.
    """
    if not isinstance(reward, np.ndarray) and isinstance(reward, Mapping):  # the second takes its time
        if set(reward) != set(objectives.names):
            raise ShapeError(
                f"expected a reward for each of {', '.join(objectives.names)}; got {', '.join(map(str, reward)) or 'none'}"
            )
        return np.array([reward[name] for name in objectives.names], dtype=np.float64)
    vector = np.asarray(reward, dtype=np.float64)
    if vector.shape != (len(objectives),):
        raise ShapeError(_not_a_vector(vector.shape, len(objectives)))
    return vector


def check_finite(rewards: np.ndarray) -> np.ndarray:
    """Rewards [E, m] as they are, once every number is known to be finite.

    Raises:
        NumericsError: with the first copy that is at fault.
    """
    if not np.isfinite(rewards).all():
        row = int(np.flatnonzero(~np.isfinite(rewards).all(axis=1))[0])
        raise NumericsError(f"the reward of copy {row} must be finite; got {rewards[row].tolist()}")
    return rewards


def _not_a_vector(shape: tuple[int, ...], m: int | None) -> str:
    what = "a scalar reward" if shape == () else f"a reward of shape {shape}"
    wanted = "a vector [m], m >= 2" if m is None else f"a vector of {m} numbers in every step"
    return (
        f"expected {wanted}; got {what}; return np.array([...]) or {{objective: number}} from step(), "
        "for instance by a gymnasium.Wrapper around the environment"
    )


def _stated(env: Any) -> Objectives | None:
    told = (getattr(env, "metadata", None) or {}).get("objectives")
    if told:
        return Objectives.from_json(told) if isinstance(told[0], Mapping) else Objectives(told)
    space = _attribute(env, "reward_space")
    if isinstance(space, spaces.Dict):
        return Objectives(space.spaces)
    m = (
        space.shape[0]
        if isinstance(space, spaces.Box) and len(space.shape) == 1
        else _attribute(env, "reward_dim")
    )
    return None if m is None else Objectives(_names(env, int(m)))


def _tried(env: Any) -> Objectives:
    copies = env.num_envs if isinstance(env, gym.vector.VectorEnv) else None
    env.action_space.seed(0)
    env.reset(seed=0)
    reward = env.step(env.action_space.sample())[1]
    if isinstance(reward, Mapping):
        return Objectives(reward)
    shape = np.shape(reward)[0 if copies is None else 1 :]
    if len(shape) != 1:
        raise ShapeError(f"{_label(env)}: {_not_a_vector(shape, None)}")
    return Objectives(_names(env, shape[0]))


def _names(env: Any, m: int) -> Sequence[str]:
    known = [
        n.split()
        for prefix, n in LIBRARY_NAMES.items()
        if _label(env).startswith(prefix) and len(n.split()) == m
    ]
    return known[0] if known else [f"objective_{i + 1}" for i in range(m)]


def _label(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return spec.id if spec is not None else type(getattr(env, "unwrapped", env)).__name__


def _attribute(env: Any, name: str) -> Any:
    return (
        env.get_wrapper_attr(name)
        if isinstance(env, gym.Env) and env.has_wrapper_attr(name)
        else getattr(env, name, None)
    )
