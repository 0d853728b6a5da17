"""Environments small enough to be written down as tables, and their exact fronts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .dynamics import Dynamics
from .streams import Streams


@dataclass(frozen=True)
class Tables:
    """A finite decision process: S states, A actions, at most K outcomes of each pair.

    Args:
        start: index of the state every episode begins in.
        successor: [K, S, A] integer, the state after each outcome.
        reward: [K, S, A, m] float64, the reward of each outcome; stepping hands it out as float32.
        terminated: [K, S, A] bool, whether the outcome ends the episode.
        threshold: [K-1, S, A] float64, cumulative probabilities: with u uniform on [0, 1) the outcome is the number
            of thresholds at or below u. Empty when nothing is left to chance.
        observation: [S, ...] what is seen in each state.
    """

    start: int
    successor: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    threshold: np.ndarray
    observation: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """[K, S, A] probability of each outcome."""
        return np.diff(self.threshold, axis=0, prepend=0.0, append=1.0)


class Cell(NamedTuple):
    """State: the index of the table row each copy is in."""

    index: np.ndarray


class TabularDynamics(Dynamics[Cell]):
    """Look everything up: a step is a handful of gathers, however the environment came about.

    Args:
        tables: the decision process.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        outcomes, self._n_states, self._n_actions = tables.successor.shape
        self._per_outcome = self._n_states * self._n_actions
        self._successor = np.ascontiguousarray(tables.successor.reshape(-1), dtype=np.int64)
        self._reward = np.ascontiguousarray(tables.reward.reshape(len(self._successor), -1), dtype=np.float32)
        self._terminated = np.ascontiguousarray(tables.terminated.reshape(-1), dtype=bool)
        self._threshold = tables.threshold.reshape(outcomes - 1, self._per_outcome)

    def start(self, streams: Streams) -> Cell:
        """Put every copy in the start state."""
        return Cell(np.full(len(streams), self.tables.start, dtype=np.int64))

    def step(self, state: Cell, actions: np.ndarray, streams: Streams) -> tuple[Cell, np.ndarray, np.ndarray]:
        """Look up what follows; where chance matters, one uniform number per copy and step decides."""
        pair = state.index * self._n_actions + actions
        if len(self._threshold):
            u = streams.uniforms(1)[:, 0]
            pair += self._per_outcome * (u >= self._threshold.take(pair, axis=1)).sum(axis=0)
        # `take` gathers rows an order of magnitude faster than fancy indexing
        return Cell(self._successor.take(pair)), self._reward.take(pair, axis=0), self._terminated.take(pair)

    def observe(self, state: Cell) -> np.ndarray:
        """Look up what is seen."""
        return self.tables.observation.take(state.index, axis=0)

    def pareto_front(self, gamma: float) -> np.ndarray:
        """Exact front [k, m] of discounted returns over deterministic policies that end the episode, sorted.

        Policies may remember what happened; on these environments that gains nothing over looking at the state.
        """
        return exact_front(self.tables, gamma)


def exact_front(tables: Tables, gamma: float, *, n_sweeps: int = 1000, decimals: int = 9) -> np.ndarray:
    """Find every non-dominated expected discounted return of a finite decision process.

    Value iteration on sets: F(s) = non-dominated of the union over a of sum_k p_k (r_k + gamma F(s_k)), where the sum
    of sets takes one member of each in every combination. Backing up is monotone in every objective, so dropping
    dominated members on the way loses nothing. F starts empty: after k sweeps it holds the returns of all policies
    that surely end within k steps, and it is exact once nothing changes.

    Args:
        tables: the decision process.
        gamma: discount in (0, 1].
        n_sweeps: give up after so many sweeps.
        decimals: returns equal to so many decimals are one point: rounding errors must not make two of it.

    Returns:
        [k, m] float64, rows in lexicographic order.

    Raises:
        ValueError: gamma outside (0, 1], or the sets still change after `n_sweeps`.

    Source: White (1982), Multi-objective infinite-horizon discounted Markov decision processes.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be in (0, 1]; got {gamma}")
    outcomes, n_states, n_actions = tables.successor.shape
    probability = tables.probability
    m = tables.reward.shape[-1]
    end, nothing = np.zeros((1, m)), np.zeros((0, m))
    fronts = [nothing] * n_states

    def backed_up(s: int, a: int) -> np.ndarray:
        total = end
        for k in range(outcomes):
            if (p := probability[k, s, a]) > 0:
                after = end if tables.terminated[k, s, a] else fronts[tables.successor[k, s, a]]
                part = p * (tables.reward[k, s, a] + gamma * after)
                total = (total[:, None] + part).reshape(-1, m)
        return total

    changed = np.ones(n_states, dtype=bool)
    for _ in range(n_sweeps):
        dirty = np.flatnonzero(changed[tables.successor].any(axis=(0, 2))).tolist()
        swept = [
            _non_dominated(np.concatenate([backed_up(s, a) for a in range(n_actions)]), decimals)
            for s in dirty
        ]
        changed = np.zeros(n_states, dtype=bool)
        changed[dirty] = [not np.array_equal(new, fronts[s]) for s, new in zip(dirty, swept)]
        for s, new in zip(dirty, swept):
            fronts[s] = new
        if not changed.any():
            return fronts[tables.start]
    raise ValueError(f"the front still changes after {n_sweeps} sweeps at gamma {gamma}; use a gamma below 1")


def _non_dominated(points: np.ndarray, decimals: int) -> np.ndarray:
    """The distinct rows of [n, m] that no other row matches or beats in every column, sorted."""
    rounded, kept = np.unique(points.round(decimals), axis=0, return_index=True)
    at_least = (rounded[:, None] >= rounded[None]).all(-1)  # [i, j]: i is at least as good as j everywhere
    return points[kept[at_least.sum(0) == 1]]
