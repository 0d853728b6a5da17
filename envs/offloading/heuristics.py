"""Rules that need no training, all reading the same observations as a learning agent.

Every rule maps observations [n, S, F] to servers [n]. Where a rule knows preferences they are [n, 2] on the simplex,
(delay, energy), one row per copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np

from pareto import simplex
from pareto.errors import ShapeError
from pareto.rng import derive_seed

from ..streams import Streams
from .encoding import feature, present
from .frozen import SCALES


def checked(preferences: Any) -> np.ndarray:
    """Return preferences as [n, 2] float64.

    Raises:
        SimplexError: not finite, negative, or not summing to 1.
        ShapeError: not two columns.
    """
    weights = np.atleast_2d(simplex.check(preferences))
    if weights.shape[1] != 2:
        raise ShapeError(f"expected preferences [n, 2] over (delay, energy); got shape {weights.shape}")
    return weights


def scalar_cost(
    observations: np.ndarray, preferences: np.ndarray, scales: tuple[float, float] = SCALES
) -> np.ndarray:
    """Compute w_T delay/scale_T + w_E energy/scale_E of every choice: [n, S], infinite where there is no server."""
    delay = feature(observations, "delay") / scales[0]
    energy = feature(observations, "energy") / scales[1]
    cost = preferences[:, :1] * delay + preferences[:, 1:] * energy
    return np.where(present(observations), cost, np.inf)


class Rule(ABC):
    """A dispatcher of many copies at once."""

    @abstractmethod
    def act(self, observations: np.ndarray) -> np.ndarray:
        """Choose servers [n] for observations [n, S, F]."""


@final
class Random(Rule):
    """Choose the cloud with probability p, else an edge server, all alike.

    Args:
        cloud_share: [n] p of each copy.
        seed: of the choices; its streams are not those of an environment with the same seed.

    Source: the "random-p" of Yang, Wen, Zhang, Tang (2025), section 5.
    """

    def __init__(self, cloud_share: np.ndarray, seed: int) -> None:
        self._cloud_share = np.asarray(cloud_share, dtype=np.float64)
        self._streams = Streams(derive_seed("random rule", seed, i) for i in range(len(self._cloud_share)))

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Throw two coins per copy."""
        u = self._streams.uniforms(2)
        edges = present(observations).sum(axis=1) - 1
        edge = 1 + np.floor(u[:, 1] * edges).astype(np.int64)
        return np.where(u[:, 0] < self._cloud_share, 0, edge)


@final
class RoundRobin(Rule):
    """Take the servers in turn, the cloud first."""

    def __init__(self) -> None:
        self._turn = 0

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Choose the next server; slots without a task take a turn too."""
        servers = present(observations).sum(axis=1)
        self._turn += 1
        return (self._turn - 1) % servers


@final
class ShortestQueue(Rule):
    """Join the server with the fewest tasks; among equals the one that runs fastest."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Compare numbers of tasks, then frequencies."""
        tasks = np.where(present(observations), feature(observations, "tasks"), np.inf)
        fewest = tasks == tasks.min(axis=1, keepdims=True)
        return np.where(fewest, feature(observations, "frequency"), -np.inf).argmax(axis=1)


@final
class Greedy(Rule):
    """Take the choice whose one-step vector reward is worth most at the preferences: argmax_e w . r(e) / scale.

    It sees the exact consequence of a choice for all tasks present, and nothing of those to come.

    Args:
        preferences: [n, 2] on the simplex.
        scales: s and J that weigh the same at equal preference.
    """

    def __init__(self, preferences: Any, scales: tuple[float, float] = SCALES) -> None:
        self._preferences = checked(preferences)
        self._scales = scales

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Choose the cheapest server now; among equals the first."""
        return scalar_cost(observations, self._preferences, self._scales).argmin(axis=1)
