"""Tables on a coarse state: what Pareto Q-learning comes to where there is chance.

Pareto Q-learning keeps the undominated value vectors of every state and is defined without chance (`pareto_q` refuses it).
With chance, sets of successors must be added in all combinations; their convex hulls stay tractable, and a hull is known by
its best vector for every preference. So a model of the coarse process is counted from random play, and for every preference

    Q_w(s, a) = w . R(s, a) + gamma sum_s' P(s' | s, a) max_b Q_w(s', b)

is iterated to its end: the hull of Pareto Q's sets, asked at the preferences wanted.

A state is the class of the task's size and of the delays that the cloud, the quickest edge server and the cheapest one would
add; a choice is one of these three servers.

Source: Van Moffaert and Nowe (2014), Multi-objective reinforcement learning using sets of Pareto dominating policies; Barrett
and Narayanan (2008), Learning all optimal policies with multiple criteria. Yang et al. (2025) do not say how their Pareto
Q-learning sees the system; the classes are ours.
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np

from pareto.rng import generator

from .config import SLOTS, OffloadingConfig
from .encoding import feature, present
from .frozen import SCALES
from .heuristics import Rule, checked
from .vector import OffloadingVector

SIZE_BITS: Final = np.array([1.0, 4e6, 12e6, 30e6])
DELAY_S: Final = np.array([5.0, 15.0, 40.0, 100.0])
CLASSES: Final = len(DELAY_S) + 1
N_STATES: Final = (len(SIZE_BITS) + 1) * CLASSES**3
N_CHOICES: Final = 3


def choices(observations: np.ndarray) -> np.ndarray:
    """Find the cloud, the edge server that adds the least delay and the one that costs the least energy: [n, 3]."""
    edge = present(observations).copy()
    edge[:, 0] = False
    columns = [
        np.where(edge, feature(observations, name), np.inf).argmin(axis=1) for name in ("delay", "energy")
    ]
    return np.column_stack([np.zeros(len(observations), dtype=np.int64), *columns])


def states(observations: np.ndarray, servers: np.ndarray) -> np.ndarray:
    """Classify observations [n, S, F] whose choices are `servers` [n, 3]: [n] numbers below `N_STATES`."""
    found = np.digitize(feature(observations, "size")[:, 0], SIZE_BITS)
    delay = np.digitize(np.take_along_axis(feature(observations, "delay"), servers, axis=1), DELAY_S)
    for column in delay.T:
        found = found * CLASSES + column
    return found


@final
class Table(Rule):
    """Look the choice up.

    Args:
        best: [n, N_STATES] number of the choice, per copy, or [1, N_STATES] for all.
    """

    def __init__(self, best: np.ndarray) -> None:
        self._best = best

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Classify the state and take its choice."""
        servers, copies = choices(observations), np.arange(len(observations))
        best = np.broadcast_to(self._best, (len(observations), N_STATES))
        return servers[copies, best[copies, states(observations, servers)]]


def fit(
    preferences: Any,
    config: OffloadingConfig,
    *,
    seed: int,
    copies: int = 256,
    episodes: int = 8,
    slots: int = SLOTS,
    gamma: float = 0.95,
    sweeps: int = 200,
) -> np.ndarray:
    """Count a model from random play and solve it for every preference.

    Args:
        preferences: [P, 2] on the simplex.
        config: the system to learn in.
        seed: of the episodes and of the choices; every copy leans towards one of the three choices.
        copies: episodes side by side.
        episodes: how often they are repeated with fresh draws.
        slots: decisions in an episode.
        gamma: discount.
        sweeps: of value iteration.

    Returns:
        [P, N_STATES] number of the best choice, for `Table`; in states never seen the quickest edge server.
    """
    weights = checked(preferences) / np.array(SCALES)
    count, reward, follows = _counted(config, seed, copies, episodes, slots)
    seen = count > 0
    times = np.maximum(count, 1)
    gain = np.where(seen, np.einsum("sam,pm->psa", reward, weights) / times, -np.inf)
    chance = (follows / times[..., None]).reshape(-1, N_STATES).T
    value = np.zeros((len(weights), N_STATES))
    q = gain
    for _ in range(sweeps):
        q = gain + gamma * (value @ chance).reshape(gain.shape)
        value = np.where(seen.any(axis=1), q.max(axis=2), 0.0)
    return np.where(seen.any(axis=1), q.argmax(axis=2), 1)


def _counted(
    config: OffloadingConfig, seed: int, copies: int, episodes: int, slots: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Visits [N, 3], summed rewards [N, 3, 2] and visits to what follows [N, 3, N]."""
    draw = generator("coarse tables", seed)
    vector = OffloadingVector(copies, config=config, max_episode_steps=slots)
    observations, _ = vector.reset(seed=seed)
    count, reward = np.zeros((N_STATES, N_CHOICES)), np.zeros((N_STATES, N_CHOICES, 2))
    follows = np.zeros((N_STATES, N_CHOICES, N_STATES))
    for t in range(episodes * slots):
        if t % slots == 0:
            leaning = draw.dirichlet(np.ones(N_CHOICES), size=copies).cumsum(axis=1)
        servers = choices(observations)
        now = states(observations, servers)
        choice = (draw.random((copies, 1)) > leaning[:, :-1]).sum(axis=1)
        observations, rewards, _, truncated, info = vector.step(servers[np.arange(copies), choice])
        final = info["final_obs"] if truncated.any() else observations
        after = states(final, choices(final))
        np.add.at(count, (now, choice), 1.0)
        np.add.at(reward, (now, choice), rewards)
        np.add.at(follows, (now, choice, after), 1.0)
    return count, reward, follows
