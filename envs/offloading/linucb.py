"""LinUCB: a contextual bandit that learns what a choice costs, linear in what it sees of a server.

Per preference one ridge regression of the scalarised reward on the features of the server chosen, explored by upper
confidence bounds: argmax_e theta . x_e + alpha sqrt(x_e' A^-1 x_e), A = I + sum x x', theta = A^-1 sum x r. The
features are raw (size, times, number of tasks), not the one-step costs in the observation, with which it would only
learn to be `heuristics.Greedy`.

Source: Li, Chu, Langford, Schapire (2010), A contextual-bandit approach to personalized news article recommendation;
parameters shared between the arms as in Chu et al. (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from .config import SLOTS, OffloadingConfig
from .encoding import COLUMN, HEAD, present
from .frozen import SCALES
from .heuristics import Rule, checked
from .vector import OffloadingVector


def features(observations: np.ndarray) -> np.ndarray:
    """Compute [n, S, 6]: 1, size, sending time, execution time alone, execution time times tasks, execution energy."""
    head = observations[..., :HEAD].astype(np.float64)
    size, rate, frequency, tasks = (head[..., COLUMN[c]] for c in ("size", "rate", "frequency", "tasks"))
    alone = size / frequency
    return np.stack(
        [np.ones_like(size), size, size / rate, alone, alone * tasks, size * frequency**2], axis=-1
    )


@final
class Linear(Rule):
    """Take the server with the highest linear score.

    Args:
        coefficients: [n, 6] per copy, or [1, 6] for all.
    """

    def __init__(self, coefficients: np.ndarray) -> None:
        self.coefficients = coefficients

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Choose the best server; among equals the first."""
        score = np.einsum(
            "nsd,nd->ns", features(observations), np.broadcast_to(self.coefficients, (len(observations), 6))
        )
        return np.where(present(observations), score, -np.inf).argmax(axis=1)


def fit(
    preferences: Any,
    config: OffloadingConfig,
    *,
    seed: int,
    copies: int = 16,
    episodes: int = 4,
    slots: int = SLOTS,
    exploration: float = 1.0,
    scales: tuple[float, float] = SCALES,
) -> np.ndarray:
    """Learn one bandit per preference, all at once, and return their coefficients.

    Args:
        preferences: [P, 2] on the simplex.
        config: the system to learn in.
        seed: of the episodes; every preference sees the same.
        copies: episodes that run side by side for each preference.
        episodes: how often they are repeated with fresh draws.
        slots: decisions in an episode.
        exploration: alpha.
        scales: s and J that weigh the same at equal preference.

    Returns:
        [P, 6], for `Linear`.
    """
    weights = np.repeat(checked(preferences), copies, axis=0)
    n_preferences = len(weights) // copies
    scaled = weights / np.array(scales)
    vector = OffloadingVector(len(weights), config=config, max_episode_steps=slots)
    observations, _ = vector.reset(seed=_same_for_each(seed, copies, n_preferences))
    precision = np.tile(np.eye(6), (n_preferences, 1, 1))
    moment = np.zeros((n_preferences, 6))
    for _ in range(episodes * slots):
        x = features(observations).reshape(n_preferences, -1, 6)
        covariance = np.linalg.inv(precision)
        theta = np.einsum("pij,pj->pi", covariance, moment)
        width = np.sqrt(np.einsum("pki,pij,pkj->pk", x, covariance, x, optimize=True))
        bound = (np.einsum("pki,pi->pk", x, theta) + exploration * width).reshape(len(weights), -1)
        actions = np.where(present(observations), bound, -np.inf).argmax(axis=1)
        busy = observations[:, 0, COLUMN["size"]] > 0
        chosen = x.reshape(len(weights), -1, 6)[np.arange(len(weights)), actions] * busy[:, None]
        observations, rewards, *_ = vector.step(actions)
        gain = (rewards * scaled).sum(axis=1)
        chosen = chosen.reshape(n_preferences, copies, 6)
        precision += np.einsum("pki,pkj->pij", chosen, chosen)
        moment += np.einsum("pki,pk->pi", chosen, gain.reshape(n_preferences, copies))
    return np.einsum("pij,pj->pi", np.linalg.inv(precision), moment)


def _same_for_each(seed: int, copies: int, times: int) -> Sequence[int]:
    return list(range(seed, seed + copies)) * times
