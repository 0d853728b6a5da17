"""What an environment is: its spaces, its objectives and one transition function for n copies at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
from gymnasium import spaces

from pareto.objectives import Objectives

from .streams import Streams

S = TypeVar("S", bound=tuple)


class Dynamics(ABC, Generic[S]):
    """Describe an environment without deciding how many copies run, when they are reset or who asks.

    The state is a NamedTuple of arrays whose first axis is the copy; functions take state arrays and give new ones,
    which then belong to the caller. All rewards are to be maximised.

    Attributes:
        objectives: the m objectives, in the order of the reward vector.
        observation_space: of one copy.
        action_space: of one copy.
        reward_space: Box [m] that every reward vector lies in, of the rewards' dtype.
        ref_point: [m] the reference point under which the literature reports this environment's hypervolume.
        gamma: the discount that goes with it.
    """

    objectives: Objectives
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    reward_space: spaces.Box
    ref_point: tuple[float, ...]
    gamma: float

    @abstractmethod
    def start(self, streams: Streams) -> S:
        """States of len(streams) fresh episodes."""

    @abstractmethod
    def step(self, state: S, actions: np.ndarray, streams: Streams) -> tuple[S, np.ndarray, np.ndarray]:
        """Move every copy once.

        Args:
            state: arrays [n, ...].
            actions: [n, ...], already checked against the action space.
            streams: n random streams.

        Returns:
            The next states, the rewards [n, m], and terminated [n] bool.
        """

    @abstractmethod
    def observe(self, state: S) -> np.ndarray:
        """Observations [n, ...] of states."""

    def pareto_front(self, gamma: float) -> np.ndarray | None:
        """Exact front [k, m] of discounted returns over deterministic policies, or None where it is not known."""
        return None

    def picture(self, state: S) -> np.ndarray | None:
        """Draw the first copy, [height, width, 3] uint8, or None where there is nothing to see."""
        return None
