"""The policies worth keeping: none dominated, judged by what they surely reach, spread along the front."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pareto.agents.population import Snapshots
from pareto.front import non_dominated


def lower_bounds(returns: np.ndarray, z: float) -> np.ndarray:
    """[K, m] mean - z standard errors of returns [K, n, m]; a single episode counts as its own bound."""
    n = returns.shape[1]
    error = returns.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else 0.0
    return returns.mean(axis=1) - z * error


def crowding(points: np.ndarray) -> np.ndarray:
    """[K] crowding distance: sum over objectives of (next - previous) / (max - min); infinite at either end.

    Source: Deb et al. (2002), NSGA-II; C-MORL selects by it.
    """
    k, m = points.shape
    total = np.zeros(k)
    for j in range(m):
        order = np.argsort(points[:, j], kind="stable")
        value = points[order, j]
        span = value[-1] - value[0]
        total[order[[0, -1]]] = np.inf
        if k > 2 and span > 0:
            total[order[1:-1]] += (value[2:] - value[:-2]) / span
    return total


@dataclass(frozen=True)
class Archive:
    """K policies with what is known of their returns.

    Args:
        policies: K snapshots, or None while there are none.
        means: [K, m] mean returns, larger is better.
        lows: [K, m] lower confidence bounds of them; what decides.
        capacity: most policies kept.
    """

    policies: Snapshots | None
    means: np.ndarray
    lows: np.ndarray
    capacity: int

    @classmethod
    def empty(cls, m: int, capacity: int) -> Archive:
        """Nothing yet."""
        return cls(None, np.zeros((0, m)), np.zeros((0, m)), capacity)

    def __len__(self) -> int:
        return len(self.means)

    def offer(self, policies: Snapshots, means: np.ndarray, lows: np.ndarray) -> Archive:
        """Keep what is not dominated in lower bounds, members and candidates alike; of too many the most spread out.

        Of equal points the one that was there first stays. NaN candidates are passed over.

        Args:
            policies: c candidates.
            means: [c, m].
            lows: [c, m].
        """
        sound = np.where(np.isfinite(lows).all(axis=1, keepdims=True), lows, -np.inf)
        all_lows = np.concatenate([self.lows, sound])
        _, first = np.unique(all_lows, axis=0, return_index=True)
        keep = np.zeros(len(all_lows), dtype=bool)
        first = first[np.isfinite(all_lows[first]).all(axis=1)]
        if not len(first):
            return self
        keep[first] = non_dominated(all_lows[first])
        places = np.flatnonzero(keep)
        if np.array_equal(places, np.arange(len(self))):
            return self
        if len(places) > self.capacity:
            spread = crowding(all_lows[places])
            places = np.sort(places[np.argsort(-spread, kind="stable")[: self.capacity]])
        pooled = policies if self.policies is None else Snapshots.joined([self.policies, policies])
        all_means = np.concatenate([self.means, means])
        return replace(self, policies=pooled.rows(places), means=all_means[places], lows=all_lows[places])

    def take(self, places: np.ndarray) -> Archive:
        """Some of the members."""
        assert self.policies is not None
        return replace(
            self, policies=self.policies.rows(places), means=self.means[places], lows=self.lows[places]
        )
