"""Spaces of gymnasium as arrays that networks read and write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from pareto.errors import ConfigError, ShapeError

MAX_JOINT_ACTIONS = 4096
"""A MultiDiscrete space is one discrete action per combination up to so many combinations."""


@dataclass(frozen=True)
class Observations:
    """How observations of a space become arrays.

    A Box of two or more axes keeps its shape, and its dtype when that is uint8 (pixels: scaling them is the network's
    part, one byte a value until then). Everything else becomes one float32 vector: numbers as they are, Discrete and
    MultiDiscrete one-hot, Dict and Tuple their members one after the other (a Dict's in the order of its space),
    uint8 members divided by 255.

    Args:
        space: of one copy.

    Raises:
        ConfigError: a space of another kind (Text, Graph, Sequence, ...).
    """

    space: spaces.Space[Any]

    def __post_init__(self) -> None:
        _width(self.space)

    @property
    def keeps_shape(self) -> bool:
        """Whether observations are arrays of several axes."""
        return isinstance(self.space, spaces.Box) and len(self.space.shape) >= 2

    @cached_property
    def _flat_floats(self) -> bool:
        """Whether an observation is one vector of numbers, which is encoded as it is."""
        space = self.space
        return isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype != np.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one encoded observation."""
        if isinstance(self.space, spaces.Box) and self.keeps_shape:
            return self.space.shape
        return (_width(self.space),)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, or uint8 for pixels."""
        return np.dtype(np.uint8 if self.keeps_shape and self.space.dtype == np.uint8 else np.float32)

    def encode(self, batch: Any, n: int) -> np.ndarray:
        """[n, *shape] of a batch of observations, batched the way gymnasium batches its space."""
        if self.keeps_shape:
            return np.array(batch, dtype=self.dtype).reshape(n, *self.shape)
        return np.ascontiguousarray(_flat(self.space, batch, n))

    def encode_one(self, observation: Any) -> np.ndarray:
        """[*shape] of one observation."""
        if self._flat_floats and getattr(observation, "shape", None) == self.space.shape:
            return np.array(observation, dtype=np.float32)  # what `encode` gives, in a tenth of the time
        return self.encode(_batched(self.space, observation), 1)[0]


def _width(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return int(np.prod(space.shape))
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.Dict):
        return sum(_width(s) for s in space.spaces.values())
    if isinstance(space, spaces.Tuple):
        return sum(_width(s) for s in space.spaces)
    raise ConfigError(
        f"observations must be numbers (Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple of these); got {space}; "
        "wrap the environment so that it encodes them"
    )


def _flat(space: spaces.Space[Any], batch: Any, n: int) -> np.ndarray:
    if isinstance(space, spaces.Dict):
        return np.concatenate([_flat(s, batch[k], n) for k, s in space.spaces.items()], axis=1)
    if isinstance(space, spaces.Tuple):
        return np.concatenate([_flat(s, part, n) for s, part in zip(space.spaces, batch)], axis=1)
    array = np.asarray(batch)
    if isinstance(space, spaces.Discrete):
        return np.eye(int(space.n), dtype=np.float32)[array.reshape(n) - space.start]
    if isinstance(space, spaces.MultiDiscrete):
        columns = (array.reshape(n, -1) - space.start.reshape(-1)).T
        sizes = space.nvec.reshape(-1)
        return np.concatenate([np.eye(k, dtype=np.float32)[c] for k, c in zip(sizes, columns)], axis=1)
    flat = array.reshape(n, -1).astype(np.float32)
    return flat / np.float32(255) if space.dtype == np.uint8 else flat


def _batched(space: spaces.Space[Any], observation: Any) -> Any:
    if isinstance(space, spaces.Dict):
        assert isinstance(observation, Mapping)
        return {k: _batched(s, observation[k]) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_batched(s, part) for s, part in zip(space.spaces, observation))
    return np.asarray(observation)[None]


@dataclass(frozen=True)
class Actions:
    """How the numbers a policy gives become actions of a space.

    Args:
        space: of one copy: Discrete, a small MultiDiscrete or MultiBinary (one action per combination), or Box.

    Raises:
        ConfigError: a space of another kind, or with too many combinations.
    """

    space: spaces.Space[Any]

    def __post_init__(self) -> None:
        known = isinstance(self.space, spaces.Discrete | spaces.Box) or self._choices is not None
        if not known:
            raise ConfigError(
                f"actions must be Discrete, Box, or MultiDiscrete with few combinations; got {self.space}; "
                "wrap the environment with a plain action space"
            )
        if self._choices is not None and self.size > MAX_JOINT_ACTIONS:
            raise ConfigError(
                f"{self.space} has {self.size} combinations, more than {MAX_JOINT_ACTIONS}; "
                "wrap the environment with a smaller action space"
            )

    @property
    def discrete(self) -> bool:
        """Whether an action is one number out of `size`."""
        return not isinstance(self.space, spaces.Box)

    @property
    def size(self) -> int:
        """Number of discrete actions, or of axes of a continuous one."""
        if isinstance(self.space, spaces.Discrete):
            return int(self.space.n)
        if isinstance(self.space, spaces.Box):
            return int(np.prod(self.space.shape))
        assert self._choices is not None
        return int(np.prod(self._choices, dtype=np.int64))

    def decode(self, actions: np.ndarray, n: int) -> np.ndarray:
        """Actions [n, ...] of the space from int [n], or from float [n, size] in which bounded axes span [-1, 1].

        Raises:
            ShapeError: not n actions of that form.
        """
        actions = np.asarray(actions)
        expected = (n,) if self.discrete else (n, self.size)
        if actions.shape != expected or (self.discrete and actions.dtype.kind not in "iu"):
            raise ShapeError(
                f"expected actions of shape {expected}{', integers' if self.discrete else ''}; "
                f"got {actions.shape} of dtype {actions.dtype}"
            )
        if isinstance(self.space, spaces.Discrete):
            return actions + self.space.start
        if isinstance(self.space, spaces.Box):
            return self._scaled(self.space, actions).reshape(n, *self.space.shape).astype(self.space.dtype)
        joint = np.stack(np.unravel_index(actions, self._choices or ()), axis=1)
        return (joint + getattr(self.space, "start", np.zeros(1, dtype=int)).reshape(-1)).reshape(
            n, *(self.space.shape or ())
        )

    @property
    def _choices(self) -> tuple[int, ...] | None:
        if isinstance(self.space, spaces.MultiDiscrete):
            return tuple(int(k) for k in self.space.nvec.reshape(-1))
        if isinstance(self.space, spaces.MultiBinary):
            return (2,) * int(np.prod(self.space.shape))
        return None

    @staticmethod
    def _scaled(space: spaces.Box, actions: np.ndarray) -> np.ndarray:
        low, high = (bound.reshape(-1).astype(np.float64) for bound in (space.low, space.high))
        bounded = np.isfinite(low) & np.isfinite(high)
        span = np.where(bounded, high - low, 0.0)
        inside = np.where(bounded, low, 0.0) + (np.clip(actions, -1.0, 1.0) + 1.0) / 2.0 * span
        return np.clip(np.where(bounded, inside, actions), low, high)


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """A space as JSON values that `space_from_json` reads back; bounds that are infinite are written as null.

    Raises:
        ConfigError: a space of a kind that no policy here uses.
    """
    if isinstance(space, spaces.Box):
        low, high = (
            [float(x) if np.isfinite(x) else None for x in bound.reshape(-1)]
            for bound in (space.low, space.high)
        )
        even = len(set(low)) == 1 and len(set(high)) == 1  # pixels: one number says it
        bounds = {"low": low[:1] if even else low, "high": high[:1] if even else high}
        return {"kind": "box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "multi_discrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "multi_binary", "shape": list(space.shape)}
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "spaces": {k: space_to_json(s) for k, s in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"kind": "tuple", "spaces": [space_to_json(s) for s in space.spaces]}
    raise ConfigError(f"expected Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple; got {space}")


def space_from_json(told: Mapping[str, Any]) -> spaces.Space[Any]:
    """Read what `space_to_json` wrote.

    Raises:
        ConfigError: another kind.
    """
    if told["kind"] == "box":
        low, high = (
            np.broadcast_to(np.array([end if x is None else x for x in told[name]], dtype=np.float64), size)
            for name, end, size in (
                ("low", -np.inf, int(np.prod(told["shape"]))),
                ("high", np.inf, int(np.prod(told["shape"]))),
            )
        )
        dtype = np.dtype(told["dtype"])
        shape = tuple(told["shape"])
        return spaces.Box(
            low.reshape(shape).astype(dtype), high.reshape(shape).astype(dtype), dtype=dtype.type
        )
    if told["kind"] == "discrete":
        return spaces.Discrete(told["n"], start=told["start"])
    if told["kind"] == "multi_discrete":
        return spaces.MultiDiscrete(told["nvec"], start=told["start"])
    if told["kind"] == "multi_binary":
        return spaces.MultiBinary(told["shape"])
    if told["kind"] == "dict":
        return spaces.Dict({k: space_from_json(s) for k, s in told["spaces"].items()})
    if told["kind"] == "tuple":
        return spaces.Tuple([space_from_json(s) for s in told["spaces"]])
    raise ConfigError(f"unknown kind of space {told['kind']!r} in a stored policy")
