"""A rule with a few numbers to choose: weighted costs of what the greedy rule sees of a server, and of its crowd.

Score of a server: theta . (delay added, energy, time the task would take alone, that time once for every task present), each
in units in which it is about 1; the lowest is taken. theta = (w_T, w_E, 0, 0) is the greedy rule at w; the third and fourth
numbers charge for what tasks to come will suffer. `annealing` and `evolution` choose theta.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np

from .config import SLOTS, OffloadingConfig
from .encoding import feature, present
from .frozen import SCALES
from .heuristics import Rule, checked
from .play import preference_costs

N_PARAMETERS: Final = 4
ALONE_S: Final = 10.0
"""About what a task takes on a server of its own, s."""
CROWD: Final = 10.0
"""Tasks on a busy server."""


@final
class Scored(Rule):
    """Take the server with the lowest weighted score.

    Args:
        theta: [n, 4] per copy, or [1, 4] for all.
        cycles_per_bit: eta of the system.
    """

    def __init__(self, theta: np.ndarray, cycles_per_bit: float = 1e3) -> None:
        self._theta, self._cycles_per_bit = np.atleast_2d(theta), cycles_per_bit

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Choose the cheapest server; among equals the first."""
        frequency = np.maximum(feature(observations, "frequency"), 1.0)
        alone = feature(observations, "size") * self._cycles_per_bit / frequency / ALONE_S
        parts = (
            feature(observations, "delay") / SCALES[0],
            feature(observations, "energy") / SCALES[1],
            alone,
            alone * feature(observations, "tasks") / CROWD,
        )
        score = sum(t[:, None] * part for t, part in zip(self._theta.T, parts))
        return np.where(present(observations), score, np.inf).argmin(axis=1)


def greedy_theta(preferences: np.ndarray) -> np.ndarray:
    """[P, 4] with which the rule is the greedy one at preferences [P, 2]."""
    weights = checked(preferences)
    return np.column_stack([weights, np.zeros_like(weights)])


def mean_costs(
    theta: np.ndarray, config: OffloadingConfig, seeds: Sequence[int], slots: int = SLOTS
) -> np.ndarray:
    """Mean delay and energy over episodes, in units of the scales, of every theta [P, 4]: [P, 2]."""
    costs = preference_costs(
        lambda i: Scored(theta[i], config.cycles_per_bit), len(theta), config, seeds, slots
    )
    return costs.mean(axis=1) / np.array(SCALES)
