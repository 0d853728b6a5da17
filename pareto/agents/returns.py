"""Vector advantages, and the returns of the episodes that training finished."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def advantages(
    rewards: Tensor, values: Tensor, following: Tensor, ended: Tensor, gamma: float, lam: float
) -> Tensor:
    """Generalised advantage estimates of every objective.

    A_t = delta_t + gamma lam (1 - ended_t) A_{t+1}, delta_t = r_t + gamma V'_t - V_t, where V'_t is the value of what
    truly followed: 0 after a terminal state, the value of the last observation where an episode was only cut off.

    Args:
        rewards: [T, ..., m].
        values: [T, ..., m], V of the observations acted on.
        following: [T, ..., m], V' as above.
        ended: [T, ...] bool, terminated or cut off.
        gamma: discount.
        lam: GAE's lambda.

    Returns:
        [T, ..., m].

    Source: Schulman et al. (2016), Eq. 16, per objective; time limits as in Pardo et al. (2018).
    """
    delta = rewards + gamma * following - values
    keep = (gamma * lam) * (~ended).to(delta.dtype)[..., None]
    found = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = torch.addcmul(delta[t], keep[t], running, out=found[t])
    return found


@dataclass
class Window:
    """The last K finished episodes of every policy of a population.

    Args:
        returns: [P, K, m] float64, discounted.
        lengths: [P, K] float64, steps.
        count: [P] int64, episodes finished so far; the newest is at (count - 1) mod K.
    """

    returns: np.ndarray
    lengths: np.ndarray
    count: np.ndarray

    @classmethod
    def begin(cls, n_policies: int, size: int, m: int) -> Window:
        """No episode yet."""
        return cls(
            np.zeros((n_policies, size, m)),
            np.zeros((n_policies, size)),
            np.zeros(n_policies, dtype=np.int64),
        )

    def add(self, policy: np.ndarray, returns: np.ndarray, lengths: np.ndarray) -> None:
        """Take in finished episodes.

        Args:
            policy: [k] row of each.
            returns: [k, m].
            lengths: [k].
        """
        for p, value, length in zip(policy.tolist(), returns, lengths):
            at = self.count[p] % self.returns.shape[1]
            self.returns[p, at], self.lengths[p, at] = value, length
            self.count[p] += 1

    def episodes(self, p: int) -> np.ndarray:
        """[k, m] returns of the last episodes of one policy."""
        return self.returns[p, : min(int(self.count[p]), self.returns.shape[1])]

    def means(self) -> np.ndarray:
        """[P, m] mean returns; NaN where no episode has finished."""
        known = np.arange(self.returns.shape[1]) < self.count[:, None]
        with np.errstate(invalid="ignore"):
            return (self.returns * known[..., None]).sum(axis=1) / known.sum(axis=1)[:, None]

    def horizon(self, gamma: float) -> np.ndarray:
        """[P] mean over episodes of sum_t gamma^t, at least 1: what a constant reward of 1 a step is worth."""
        known = np.arange(self.lengths.shape[1]) < self.count[:, None]
        worth = self.lengths if gamma == 1 else (1 - gamma**self.lengths) / (1 - gamma)
        return np.maximum((worth * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1), 1.0)
